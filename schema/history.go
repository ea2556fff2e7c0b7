package schema

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// history is a table in which another tool keeps what it has applied.
type history struct {
	table   string // in the tenant's schema, or of the whole database with its schema
	columns string // by which it is known, of those that any of them has
	entries string // the query for a schema's number, group, key and what a person is shown
	named   bool   // the key is the name of a file here, else its number
	newest  bool   // it holds the newest alone
}

var histories = []history{
	{table: "django_migrations", columns: "app name", named: true, entries: `SELECT {n}, app::text, app || '_' || name, app || '.' || name FROM {table}`},
	{table: "schema_migrations", columns: "version", entries: `SELECT {n}, '', version::text, version::text FROM {table}`}, // of Rails and dbmate
	{table: "schema_migrations", columns: "dirty version", newest: true, // of golang-migrate
		entries: `SELECT {n}, '', version || CASE WHEN dirty THEN ' (dirty)' ELSE '' END, version || CASE WHEN dirty THEN ' (dirty)' ELSE '' END FROM {table}`},
	{table: migratorTable, columns: "db_schema filename name type", // type 2 are the tenants' migrations
		entries: `SELECT DISTINCT array_position({schemas}, db_schema::text) - 1, '', substring(name FROM '^[0-9]+'), filename::text FROM {table} WHERE db_schema = ANY ({schemas}) AND type = 2`},
}

const migratorTable = "migrator.migrator_migrations"

// findHistories looks for these tables: the number of the schema, 0 for what is the whole database's, the table, its
// columns, and whether it can be read.
const findHistories = `SELECT s.i, CASE WHEN s.i = 0 THEN n.nspname || '.' ELSE '' END || c.relname,
	ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		AND a.attname = ANY(CASE WHEN s.i = 0 THEN '{db_schema,filename,name,type}' ELSE '{app,name,version,dirty}' END::name[]) ORDER BY a.attname COLLATE "C"),
	has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM (SELECT i, schema FROM unnest($1::text[]) WITH ORDINALITY q(schema, i) UNION ALL SELECT 0, 'migrator') s
	JOIN pg_namespace n ON n.nspname = s.schema
	JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
		AND c.relname = ANY(CASE WHEN s.i = 0 THEN '{migrator_migrations}' ELSE '{django_migrations,schema_migrations}' END::name[])
ORDER BY s.i, c.relname`

// entry is a line of a history.
type entry struct{ group, key, shown string }

// toldBy is what a history says of a schema.
type toldBy struct {
	history
	entries []entry
	err     error // why it cannot be read
	unread  error // why the one of the whole database cannot
}

// Recorded reads what other tools' histories say of schemas, many in a query.
func (r *Resource) Recorded(ctx context.Context, ps []tenant.Adoptee) ([]tenant.Recognised, error) {
	if len(ps) == 0 {
		return nil, nil
	}
	set, err := r.files()
	if err != nil {
		return nil, err
	}
	out := make([]tenant.Recognised, len(ps))
	g, ctx := tenant.NewGroup(ctx)
	g.SetLimit(readers)
	for at := 0; at < len(ps); at += booksAtOnce {
		some := ps[at:min(at+booksAtOnce, len(ps))]
		g.Go(func() error {
			said, err := r.histories(ctx, some)
			for i, s := range said {
				out[at+i] = s.recorded(set, some[i].Schema)
			}
			return failure("read the histories of other tools", err)
		})
	}
	return out, g.Wait()
}

// histories reads those of some schemas.
func (r *Resource) histories(ctx context.Context, ps []tenant.Adoptee) ([]toldBy, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	out := make([]toldBy, len(ps))
	schemas, quoted := make([]string, len(ps)), make([]string, len(ps))
	for i, p := range ps {
		schemas[i], quoted[i] = p.Schema, text(p.Schema)
	}
	all := "ARRAY[" + strings.Join(quoted, ", ") + "]::text[]"
	rows, err := conn.Query(ctx, findHistories, schemas)
	if err != nil {
		return nil, err
	}
	var i int
	var table string
	var columns []string
	var readable bool
	var reads []string
	_, err = pgx.ForEachRow(rows, []any{&i, &table, &columns, &readable}, func() error {
		at := slices.IndexFunc(histories, func(h history) bool { return h.table == table && h.columns == strings.Join(columns, " ") })
		if at < 0 {
			return nil // another's table of that name
		}
		name := table
		if i > 0 {
			name = quote(schemas[i-1]) + "." + table
		}
		if readable {
			sql := strings.NewReplacer("{n}", fmt.Sprint(i-1), "{table}", name, "{schemas}", all).Replace(histories[at].entries)
			reads = append(reads, fmt.Sprintf("SELECT x.n, %d, x.g, coalesce(x.k, ''), coalesce(x.s, '') FROM (%s) x(n, g, k, s)", at, sql))
			return nil
		}
		no := &tenant.Error{Kind: tenant.ErrRights, Store: tenant.KindPostgres, Msg: "no right to read " + name, Hint: "GRANT SELECT ON it, and USAGE on its schema, to the role of postgres.url"}
		if i > 0 {
			out[i-1].err = no
			return nil
		}
		for n := range out {
			out[n].unread = no // which matters only where nothing else tells
		}
		return nil
	})
	if err != nil || len(reads) == 0 {
		return out, err
	}
	if rows, err = conn.Query(ctx, strings.Join(reads, "\nUNION ALL\n")); err != nil {
		return nil, err
	}
	var at int
	var e entry
	_, err = pgx.ForEachRow(rows, []any{&i, &at, &e.group, &e.key, &e.shown}, func() error {
		if out[i].table != "" && out[i].table != histories[at].table {
			out[i].err = invalid(hintVersion, "schema %s has two histories, %s and %s", schemas[i], out[i].table, histories[at].table)
		}
		out[i].history = histories[at]
		out[i].entries = append(out[i].entries, e)
		return nil
	})
	return out, err
}

const hintVersion = "say what the version is: --version V"

// recorded is the version that a history tells: that of the newest file here that it names. It is told only where nothing
// has to be guessed: it names all files up to that one, and what it names besides is older than the files here, or of an app
// that has none.
func (s toldBy) recorded(f *migrationfile.Set, schema string) tenant.Recognised {
	no := func(hint, format string, args ...any) tenant.Recognised {
		return tenant.Recognised{Err: invalid(hint, format, args...)}
	}
	switch {
	case s.err != nil:
		return tenant.Recognised{Err: s.err}
	case s.table == "" && s.unread != nil:
		return tenant.Recognised{Err: s.unread}
	case s.table == "":
		return no(hintVersion+", or have it found by the structure: --version auto", "schema %s has nothing in django_migrations, schema_migrations or %s", schema, migratorTable)
	}
	byKey := map[string][]*migrationfile.File{}
	for _, m := range f.List {
		key := s.keyOf(m)
		byKey[key] = append(byKey[key], m)
	}
	applied, seen := map[int64]bool{}, map[string]bool{}
	var newest int64
	var unknown []string
	rest := 0
	for _, e := range s.sorted(f) {
		ms := byKey[e.key]
		switch {
		case len(ms) == 0 && seen[e.group]:
			unknown = append(unknown, e.shown)
		case len(ms) == 0:
			rest++
		case len(ms) > 1:
			return no("give each a name of its own", "%s could be %s or %s", e.shown, ms[0].Base(), ms[1].Base())
		case applied[ms[0].Version]:
			return no(hintVersion, "%s of schema %s has two entries for %s", s.table, schema, ms[0].Base())
		default:
			applied[ms[0].Version], seen[e.group] = true, true
			newest = max(newest, ms[0].Version)
		}
	}
	switch {
	case len(applied) == 0 && s.named:
		return no("name a file for each, NUMBER_APP_MIGRATION.sql, or "+hintVersion, "%s of schema %s names none of the files here", s.table, schema)
	case len(applied) == 0:
		return no("give a file the number that it has there, or "+hintVersion, "%s of schema %s names none of the files here", s.table, schema)
	case len(unknown) > 0:
		return no("use the checkout that has their files, or "+hintVersion, "%s of schema %s has what no file here answers to: %s", s.table, schema, upTo(3, unknown))
	}
	var lacks []string
	for _, m := range f.List {
		if m.Version < newest && !applied[m.Version] {
			lacks = append(lacks, m.Base())
		}
	}
	if len(lacks) > 0 {
		return no("bring it there by the other tool first, or "+hintVersion, "%s of schema %s names %s, and not what comes before it: %s", s.table, schema, f.ByVersion[newest].Base(), upTo(3, lacks))
	}
	return tenant.Recognised{Version: newest, History: s.table, Rest: rest}
}

// keyOf is what a history calls a file.
func (h history) keyOf(m *migrationfile.File) string {
	if h.named {
		return m.Name
	}
	return fmt.Sprint(m.Version)
}

// sorted are the entries of each group in their order, with what one that is the newest alone implies.
func (s toldBy) sorted(f *migrationfile.Set) []entry {
	entries := slices.Clone(s.entries)
	if s.named {
		slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
		return entries
	}
	for i, e := range entries {
		if sqltext.PrefixLen(e.key, sqltext.IsDigit) == len(e.key) {
			entries[i].key = strings.TrimLeft(e.key, "0")
		}
	}
	if s.newest && len(entries) == 1 && slices.ContainsFunc(f.List, func(m *migrationfile.File) bool { return s.keyOf(m) == entries[0].key }) {
		for _, m := range f.List {
			if key := s.keyOf(m); byNumber(entry{key: key}, entries[0]) < 0 {
				entries = append(entries, entry{key: key, shown: key})
			}
		}
	}
	slices.SortFunc(entries, byNumber)
	return entries
}

// byNumber orders entries by their numbers; what has none is last.
func byNumber(a, b entry) int {
	number := func(e entry) bool { return e.key != "" && sqltext.PrefixLen(e.key, sqltext.IsDigit) == len(e.key) }
	switch {
	case number(a) && number(b):
		return cmp.Or(cmp.Compare(len(a.key), len(b.key)), cmp.Compare(a.key, b.key))
	case number(a):
		return -1
	case number(b):
		return 1
	}
	return cmp.Compare(a.key, b.key)
}
