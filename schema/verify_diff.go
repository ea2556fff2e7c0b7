package schema

import (
	"context"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// Outline is the SQL that makes the schema's objects, as pg_dump writes it, without the schema's name. Of a table each
// line is told for itself.
func (r *Resource) Outline(ctx context.Context, t tenant.Tenant) ([]tenant.OutlinePart, error) {
	defs, err := r.defined(ctx, t)
	if err != nil {
		return nil, err
	}
	var parts []tenant.OutlinePart
	for _, sql := range []string{defs.pre, defs.post} {
		for _, s := range statementsOf(sql) {
			if sqltext.Begins(s.tokens, "set") {
				continue
			}
			text := strings.ReplaceAll(strings.ReplaceAll(s.text, sqltext.Variables.Ident+".", ""), sqltext.Variables.Role, "the tenant's role")
			head, body, whole := strings.Cut(text, " (\n")
			if !whole || !sqltext.Begins(s.tokens, "create", "table") {
				parts = append(parts, tenant.OutlinePart{Lines: []string{text}})
				continue
			}
			p := tenant.OutlinePart{Object: strings.ToLower(head[len("CREATE "):len("CREATE TABLE")]) + head[len("CREATE TABLE"):], Lines: []string{}}
			for line := range strings.Lines(body) {
				p.Lines = append(p.Lines, strings.TrimRight(line, ",\n"))
			}
			p.Lines = slices.DeleteFunc(p.Lines, func(l string) bool { return l == ")" })
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// defined are the definitions of a schema as it is now. Unlike those of a backup they are not kept in the catalog: who only
// looks writes nothing.
func (r *Resource) defined(ctx context.Context, t tenant.Tenant) (*definitions, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	s, _, err := r.inspect(ctx, conn, t)
	var d *definitions
	if err == nil {
		d, err = r.known(ctx, conn, s)
	}
	conn.Release()
	if err != nil || d != nil {
		return d, err
	}
	if d, err = r.define(ctx, t, s, false); d == nil && err == nil {
		err = changed(t)
	}
	return d, err
}
