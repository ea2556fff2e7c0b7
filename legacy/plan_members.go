package legacy

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// findDownwards finds for each table that neither has a key nor reaches one the tables that refer to it and lead to tenants:
// users through memberships, say.
func (p *planner) findDownwards() {
	for _, t := range p.src {
		if len(p.keys[t.name]) > 0 || len(p.ways[t.name]) > 0 {
			continue
		}
		var found []way
		for _, m := range p.src {
			for _, f := range m.foreignKeys {
				if f.table != t.name || m == t || !p.follows(m, f) {
					continue
				}
				hops := []foreignKey{{columns: f.references, table: m.name, references: f.columns}}
				switch keys, ways := p.keys[m.name], p.ways[m.name]; {
				case len(keys) > 0:
					found = append(found, way{hops: hops, key: keys[0], down: true})
				case len(ways) > 0:
					found = append(found, way{hops: append(hops, ways[0].hops...), key: ways[0].key, down: true})
				}
			}
		}
		slices.SortStableFunc(found, func(a, b way) int {
			return cmp.Compare(p.ownColumns(a.hops[0].table), p.ownColumns(b.hops[0].table))
		})
		p.down[t.name] = found
	}
}

// ownColumns counts a table's columns that are no part of a key: a table that only joins others has few.
func (p *planner) ownColumns(name string) (n int) {
	t := tableNamed(p.src, name)
	for _, c := range t.columns {
		inKey := slices.Contains(t.primaryKey, c.name) || slices.ContainsFunc(t.foreignKeys, func(f foreignKey) bool { return slices.Contains(f.columns, c.name) })
		if !inKey {
			n++
		}
	}
	return n
}

// privateWords are in names of columns that other tenants must not see.
var privateWords = []string{"password", "passwd", "pwd", "secret", "token", "apikey", "privatekey", "email", "ssn", "iban", "creditcard"}

// private are the columns of a table that should not be copied to every tenant unseen.
func private(t *sourceTable) []string {
	var out []string
	for _, c := range t.columns {
		if slices.ContainsFunc(privateWords, func(w string) bool { return strings.Contains(strings.ReplaceAll(loose(c.name), "-", ""), w) }) {
			out = append(out, c.name)
		}
	}
	return out
}

// writeDown writes the way downwards for a table that should not be copied to every tenant.
func (p *planner) writeDown(entry *yaml.Node, t *sourceTable, ways []way) {
	k := addPair(entry, "via", hopsNode(ways[0]))
	addPair(entry, "key", textNode(ways[0].key))
	line := fmt.Sprintf("%s: each row goes to every tenant that a row of %s leads to; it has %s, and is not for all of them",
		t.name, ways[0].hops[0].table, strings.Join(private(t), ", "))
	p.note("%s", line)
	addComment(k, strings.TrimPrefix(line, t.name+": "))
	for _, w := range ways[1:] {
		addComment(k, "  or: "+inlineWay(w))
	}
}

// mayCopy warns of a shared table that would give one tenant's secrets to another.
func (p *planner) mayCopy(k *yaml.Node, t *sourceTable) {
	for _, w := range p.down[t.name] {
		addComment(k, "or, in place of shared, to the tenants that refer to a row: "+inlineWay(w))
	}
	if columns := private(t); len(columns) > 0 {
		line := fmt.Sprintf("it has %s: copy would give them to every tenant", strings.Join(columns, ", "))
		addComment(k, "WARNING: "+line)
		p.note("%s: %s", t.name, line)
	}
}

// inlineWay is a way as it is written in a table's entry.
func inlineWay(w way) string {
	inline := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	addPair(inline, "via", hopsNode(w))
	addPair(inline, "key", textNode(w.key))
	line, err := yaml.Marshal(inline)
	if err != nil {
		panic(err) // the nodes hold texts alone
	}
	return strings.Trim(strings.TrimSpace(string(line)), "{}")
}

// selfReferring says what a foreign key of the tenants' own table to itself means: each tenant gets its own row alone.
func (p *planner) selfReferring(model *targetTable) string {
	for _, f := range model.foreignKeys {
		if f.table == model.name {
			return fmt.Sprintf("%s refers to itself by %s, and each tenant gets its own row alone: rows that refer to another tenant's are rejected; write %s: null, or take the foreign key out of the migrations",
				model.name, strings.Join(f.columns, ", "), f.columns[0])
		}
	}
	return ""
}

// sameKeys are rows whose key is a tenant's by the source's collation alone.
type sameKeys struct {
	rows      int64
	row, list string // an example: as the row has it, and as the list of tenants has it
}

// keyComparer is a source that compares keys by collations of its own.
type keyComparer interface {
	sameKeys(ctx context.Context, table, column, tenants, key string) (sameKeys, error)
}

// compareKeys says of a table how many of its rows have such a key.
func (p *planner) compareKeys(t *sourceTable, column string) string {
	if p.SameKeys == nil || p.tenants == nil || t == p.tenants {
		return ""
	}
	ours, theirs := t.column(column), p.tenants.column(p.key)
	if ours == nil || theirs == nil || ours.kind != kindText && ours.kind != kindOther || theirs.kind != ours.kind {
		return ""
	}
	found, err := p.SameKeys(t.name, column, p.tenants.name, p.key)
	switch {
	case err != nil:
		p.err = err
		return ""
	case found.rows == 0:
		return ""
	}
	return fmt.Sprintf("%d rows have a key that is a tenant's by the source's collation alone, such as %q for %q: they are rejected; fix them, or give the tenant's own key by a query",
		found.rows, found.row, found.list)
}

func (s *postgresSource) sameKeys(ctx context.Context, table, column, tenants, key string) (sameKeys, error) {
	var out sameKeys
	x, k := "x."+quoteColumn(column), "k."+quoteColumn(key)
	err := s.query(ctx, "compare the keys of "+table, fmt.Sprintf(`SELECT count(*), coalesce(min(%[1]s::text COLLATE "C"), ''), coalesce(min(%[2]s::text COLLATE "C"), '')
		FROM %[3]s AS x JOIN %[4]s AS k ON %[1]s = %[2]s WHERE %[1]s::text COLLATE "C" <> %[2]s::text COLLATE "C"`,
		x, k, s.from(table), s.from(tenants)), nil, []any{&out.rows, &out.row, &out.list}, func() error { return nil })
	return out, err
}

func (s *mysqlSource) sameKeys(ctx context.Context, table, column, tenants, key string) (sameKeys, error) {
	var out sameKeys
	conn, err := s.acquire(ctx)
	if err != nil {
		return out, err
	}
	defer s.release(conn)
	x, k := "x."+quoteMySQL(column), "k."+quoteMySQL(key)
	bytes := func(expr string) string { return "CAST(CONVERT(" + expr + " USING utf8mb4) AS BINARY)" }
	var row, list sql.NullString
	err = conn.QueryRowContext(ctx, fmt.Sprintf("SELECT COUNT(*), MIN(%s), MIN(%s) FROM %s AS x JOIN %s AS k ON %s = %s WHERE %s <> %s",
		bytes(x), bytes(k), quoteMySQL(table), quoteMySQL(tenants), x, k, bytes(x), bytes(k))).Scan(&out.rows, &row, &list)
	out.row, out.list = row.String, list.String
	return out, s.failed("compare the keys of "+table, err)
}
