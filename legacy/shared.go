package legacy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// Tables with shared: schema are loaded once, into a schema of their own. To the load that schema is one more entry of
// the tenant list, without a tenant.

// shares tells whether the mapping has tables for the shared schema.
func (m *Mapping) shares() bool {
	return slices.ContainsFunc(m.Tables, func(t *Table) bool { return t.Shared == SharedSchema })
}

// readShared puts the models of the shared schema's tables in place of the tenants': as they are there, else as the
// tenants have them, else as the source has them.
func (i *Importer) readShared(ctx context.Context) error {
	if !i.m.shares() {
		return nil
	}
	there, err := readTarget(ctx, i.Postgres, i.m.SharedSchema)
	if err != nil {
		return err
	}
	for _, t := range i.m.Tables {
		if t.Shared != SharedSchema {
			continue
		}
		own, model, src := there[t.To], i.target[t.To], i.sourceTable(t)
		switch {
		case own != nil:
			i.target[t.To] = own
		case model != nil:
			like := *model
			like.foreignKeys = nil
			i.target[t.To] = &like
			i.toMake = append(i.toMake, t)
		case src != nil:
			if i.target[t.To], err = i.modelOf(ctx, t, src); err != nil {
				return err
			}
			i.toMake = append(i.toMake, t)
		}
	}
	return nil
}

// sharedFaults names tables of tenants that refer to one which the mapping loads into the shared schema alone.
func (i *Importer) sharedFaults() []string {
	var out []string
	for _, t := range i.m.Tables {
		model := i.target[t.To]
		if t.ToCollection != "" || t.Shared == SharedSkip || t.Shared == SharedSchema || model == nil {
			continue
		}
		for _, f := range model.foreignKeys {
			if slices.ContainsFunc(i.m.Tables, func(o *Table) bool { return o.Shared == SharedSchema && o.To == f.table }) {
				out = append(out, fmt.Sprintf("%s refers to %s in the tenant's own schema by the foreign key %s: copy %s into every tenant, or take the key out of the migrations", t.To, f.table, f.name, f.table))
			}
		}
	}
	return out
}

// makeShared makes the shared schema and those of its tables that are not there.
func (r *run) makeShared(ctx context.Context) error {
	if !r.m.shares() {
		return nil
	}
	schema := quoteColumn(r.m.SharedSchema)
	return r.inTx(ctx, "make the shared schema "+r.m.SharedSchema, func(tx pgx.Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, `SELECT to_regnamespace(quote_ident($1)) IS NOT NULL`, r.m.SharedSchema).Scan(&there); err != nil {
			return err
		}
		if !there {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+schema); err != nil {
				return err
			}
			// A list of all tenants' roles would not fit into the catalog's row of a table.
			if _, err := tx.Exec(ctx, "GRANT USAGE ON SCHEMA "+schema+" TO PUBLIC"); err != nil {
				return err
			}
			r.report.Notes = append(r.report.Notes, fmt.Sprintf("made the schema %s: all roles of the database, the tenants' own among them, may read the tables that the import makes there", r.m.SharedSchema))
		}
		for _, t := range r.toMake {
			if _, err := tx.Exec(ctx, r.makeSQL(t)+"; GRANT SELECT ON "+schema+"."+quoteColumn(t.To)+" TO PUBLIC"); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeSQL makes a shared table: like the tenants' where they have one.
func (r *run) makeSQL(t *Table) string {
	name := quoteColumn(r.m.SharedSchema) + "." + quoteColumn(t.To)
	model := r.target[t.To]
	if r.inModel[t.To] {
		return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (LIKE %s INCLUDING ALL)", name, r.relation(r.scope[0], t))
	}
	var cells []string
	enums := ""
	for _, c := range model.columns {
		if len(c.labels) > 0 && !strings.Contains(enums, c.typ+" AS ENUM") {
			labels := make([]string, len(c.labels))
			for n, l := range c.labels {
				labels[n] = literal(l)
			}
			enums += fmt.Sprintf("DO $enum$ BEGIN CREATE TYPE %s AS ENUM (%s); EXCEPTION WHEN duplicate_object THEN NULL; END $enum$; ", c.typ, strings.Join(labels, ", "))
		}
		cell := quoteColumn(c.name) + " " + c.typ
		if c.notNull {
			cell += " NOT NULL"
		}
		cells = append(cells, cell)
	}
	if len(model.primaryKey) > 0 {
		key := make([]string, len(model.primaryKey))
		for n, c := range model.primaryKey {
			key[n] = quoteColumn(c)
		}
		cells = append(cells, "PRIMARY KEY ("+strings.Join(key, ", ")+")")
	}
	return fmt.Sprintf("%sCREATE TABLE IF NOT EXISTS %s (%s)", enums, name, strings.Join(cells, ", "))
}

// sharedEntry is the shared schema as an entry of the tenant list.
func (i *Importer) sharedEntry() int32 {
	if i.sharedAt == 0 {
		i.list = append(i.list, listed{key: nobody, tenant: tenant.Tenant{Schema: i.m.SharedSchema}, there: true})
		i.sharedAt = int32(len(i.list) - 1)
	}
	return i.sharedAt
}

// recipients are the entries of the list that a table goes to.
func (r *run) recipients(t *Table) []int32 {
	if t.Shared == SharedSchema {
		return []int32{r.sharedEntry()}
	}
	return r.scope
}
