package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

// Options of relations and columns that are part of a structure. Servers keep options of their own in the same catalog
// columns, also from one minor release on, such as pg_attver of PostgreSQL 15.20.
var (
	columnOptions   = []string{"n_distinct", "n_distinct_inherited"}
	relationOptions = []string{
		"fillfactor", "toast_tuple_target", "parallel_workers", "user_catalog_table", "vacuum_index_cleanup", "vacuum_truncate",
		"vacuum_max_eager_freeze_failure_rate", "security_barrier", "security_invoker", "check_option",
		"log_autovacuum_min_duration", "log_autoanalyze_min_duration", "autovacuum_parallel_workers", "autovacuum_enabled",
		"autovacuum_vacuum_threshold", "autovacuum_vacuum_max_threshold", "autovacuum_vacuum_scale_factor",
		"autovacuum_vacuum_insert_threshold", "autovacuum_vacuum_insert_scale_factor",
		"autovacuum_analyze_threshold", "autovacuum_analyze_scale_factor",
		"autovacuum_vacuum_cost_delay", "autovacuum_vacuum_cost_limit",
		"autovacuum_freeze_min_age", "autovacuum_freeze_max_age", "autovacuum_freeze_table_age",
		"autovacuum_multixact_freeze_min_age", "autovacuum_multixact_freeze_max_age", "autovacuum_multixact_freeze_table_age",
	}
)

// serversOwn begins the names of options that a server keeps for itself: no statement can set them.
const serversOwn = "pg_"

// only is the SQL for those of an array of options that have one of the names, NULL where none has.
func only(options string, names []string) string {
	return fmt.Sprintf(`(SELECT array_agg(q.o ORDER BY q.n) FROM unnest(%s) WITH ORDINALITY q(o, n) WHERE split_part(q.o, '=', 1) IN (%s))`,
		options, inSQL(names))
}

// unknown is a condition in SQL: an array of options has some that are neither named nor the server's own.
func unknown(options string, names []string) string {
	return fmt.Sprintf(`EXISTS (SELECT FROM unnest(%s) o WHERE split_part(o, '=', 1) NOT IN (%s) AND NOT starts_with(o, '%s'))`,
		options, inSQL(names), serversOwn)
}

func inSQL(names []string) string {
	var list []string
	for _, n := range names {
		list = append(list, text(n))
	}
	return strings.Join(list, ", ")
}

// settable is SQL without the options of columns that are the server's own, which a pg_dump that is older than its server
// writes like any other.
func settable(sql string) string {
	if !strings.Contains(sql, serversOwn) {
		return sql
	}
	tokens, _ := sqltext.Lex(sql)
	var b strings.Builder
	end := 0
	for _, s := range sqltext.Split(tokens) {
		open, last := columnOptionsOf(s), len(s)-1
		if open < 0 {
			continue
		}
		kept, all := settableOptions(sql, s[open+1:])
		switch {
		case all:
			continue
		case kept == "": // the semicolon stays
			b.WriteString(sql[end:s[0].Start])
		default:
			b.WriteString(sql[end:s[open].Start] + "(" + kept + ")")
		}
		end = s[last].Start + 1
	}
	return b.String() + sql[end:]
}

// columnOptionsOf is where ALTER ... ALTER COLUMN ... SET (...) opens its parenthesis, -1 in other statements.
func columnOptionsOf(s []sqltext.Token) int {
	open := slices.IndexFunc(s, func(t sqltext.Token) bool { return t.Text == "(" })
	if open < 1 || open+1 >= len(s) || !sqltext.Begins(s, "alter") || !s[open-1].Is("set") || s[len(s)-1].Text != ")" ||
		!slices.ContainsFunc(s[:open], func(t sqltext.Token) bool { return t.Is("column") }) {
		return -1
	}
	return open
}

// settableOptions are those of a list, to its closing parenthesis, that a statement can set, and whether all can.
func settableOptions(sql string, list []sqltext.Token) (kept string, all bool) {
	var options []string
	from, all := 0, true
	for i, t := range list {
		if t.Text != "," && i < len(list)-1 {
			continue
		}
		if strings.HasPrefix(list[from].Name(), serversOwn) {
			all = false
		} else {
			options = append(options, strings.TrimSpace(sql[list[from].Start:t.Start]))
		}
		from = i + 1
	}
	return strings.Join(options, ", "), all
}

// withoutOwn are the newest minor releases, by major ones, that are known to keep no options of their own.
var withoutOwn = map[int]int{13: 23, 14: 23, 15: 18, 16: 14, 17: 10, 18: 4}

// canCompare tells whether the fingerprint of a backup is made as that of s is made now: those of version 2 hashed all
// options, and so what a server that is newer than these releases keeps for itself, and which materialized views held rows.
func canCompare(fingerprint string, server release, s *structure) bool {
	version, _, _ := strings.Cut(fingerprint, ":")
	return version == hashVersion || version == "2" && server.minor <= withoutOwn[server.major] && !s.matviews
}

// digest is a fingerprint without its version.
func digest(fingerprint string) string {
	_, sum, _ := strings.Cut(fingerprint, ":")
	return sum
}
