package legacy

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// What a load does to the tenants' tables besides loading rows: emptying them, taking indexes, constraints and triggers
// away and putting them back, sequences, statistics.

// each works for the tenants of a pass, in parallel.
func (r *run) each(ctx context.Context, tenants []int32, do func(ctx context.Context, at int32) error) error {
	g, ctx := tenant.NewGroup(ctx)
	g.SetLimit(r.Parallel)
	for _, at := range tenants {
		g.Go(func() error { return do(ctx, at) })
	}
	return g.Wait()
}

// inTx runs f in a transaction that holds the import.
func (r *run) inTx(ctx context.Context, verb string, f func(tx pgx.Tx) error) error {
	return targetError(verb, pgx.BeginFunc(ctx, r.Postgres, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, r.held.HoldSQL()); err != nil {
			return err
		}
		return f(tx)
	}))
}

// undoable is something of a table that is in the way of a load.
type undoable struct{ kind, name, away, back string }

// takeAway drops what would make the load fail or slow, after writing down how to put it back: foreign keys of rows to
// others of the same table or of a circle of tables, triggers with triggers: skip, and where they are deferred the
// secondary indexes of tables that are empty.
func (r *run) takeAway(ctx context.Context, p *pass) error {
	if p.table.ToCollection != "" {
		return nil
	}
	circular := r.circular(p.table.To)
	if len(circular) == 0 && p.table.Triggers != "skip" && !r.defers(p) {
		return nil
	}
	return r.each(ctx, p.tenants, func(ctx context.Context, at int32) error {
		err := r.inTx(ctx, "prepare the table "+p.name, func(tx pgx.Tx) error {
			found, err := r.inTheWay(ctx, tx, at, p, circular)
			if err != nil {
				return err
			}
			for _, u := range found {
				if err := r.held.Owe(ctx, tx, tenant.ImportUndo{Target: p.name, Tenant: r.tenantAt(at), Kind: u.kind, Name: u.name, Statement: u.back}); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, u.away); err != nil {
					return err
				}
			}
			return nil
		})
		return tenant.WithTenant(err, r.list[at].tenant.Name)
	})
}

// circular are the foreign keys of a table that no order of loading can satisfy.
func (r *run) circular(table string) []string {
	var names []string
	for _, t := range r.wanted() {
		if t.ToCollection == "" {
			names = append(names, t.To)
		}
	}
	_, cycles := r.target.loadOrder(names)
	var out []string
	for _, f := range r.target[table].foreignKeys {
		together := slices.ContainsFunc(cycles, func(c []string) bool { return slices.Contains(c, table) && slices.Contains(c, f.table) })
		if f.table == table || together {
			out = append(out, f.name)
		}
	}
	return out
}

func (r *run) inTheWay(ctx context.Context, tx pgx.Tx, at int32, p *pass, circular []string) ([]undoable, error) {
	rel := r.relation(at, p.table)
	rows, err := tx.Query(ctx, `SELECT 'foreign key', conname::text, 'ALTER TABLE ' || $1 || ' DROP CONSTRAINT ' || quote_ident(conname),
			'ALTER TABLE ' || $1 || ' ADD CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid) ||
				coalesce('; COMMENT ON CONSTRAINT ' || quote_ident(conname) || ' ON ' || $1 || ' IS ' || quote_literal(obj_description(oid, 'pg_constraint')), '')
		FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'f' AND conname = ANY($2)
		UNION ALL
		SELECT 'trigger', tgname::text, 'ALTER TABLE ' || $1 || ' DISABLE TRIGGER ' || quote_ident(tgname),
			'ALTER TABLE ' || $1 || ' ENABLE ' || CASE tgenabled WHEN 'A' THEN 'ALWAYS ' WHEN 'R' THEN 'REPLICA ' ELSE '' END || 'TRIGGER ' || quote_ident(tgname)
		FROM pg_trigger WHERE $3 AND tgrelid = $1::text::regclass AND NOT tgisinternal AND tgenabled <> 'D'
		UNION ALL
		SELECT 'index', i.relname::text, 'DROP INDEX ' || quote_ident(n.nspname) || '.' || quote_ident(i.relname), pg_get_indexdef(i.oid)
		FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = i.relnamespace
		WHERE $4 AND x.indrelid = $1::text::regclass AND NOT x.indisunique AND NOT x.indisexclusion AND NOT x.indisreplident
			AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid)
			-- What its definition alone does not bring back stays.
			AND i.relkind = 'i' AND NOT x.indisclustered AND obj_description(i.oid, 'pg_class') IS NULL AND i.reltablespace = 0
			AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.oid AND a.attstattarget >= 0)`, rel, circular, p.table.Triggers == "skip", r.defers(p) && r.isEmpty(ctx, tx, rel))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (u undoable, err error) {
		err = row.Scan(&u.kind, &u.name, &u.away, &u.back)
		return u, err
	})
}

func (r *run) isEmpty(ctx context.Context, tx pgx.Tx, rel string) bool {
	var rows bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+rel+")").Scan(&rows)
	return err == nil && !rows
}

// putBack restores what a load took away.
func (r *run) putBack(ctx context.Context, p *pass) error {
	owed, err := r.owed(ctx, p)
	if err != nil {
		return err
	}
	return r.each(ctx, p.tenants, func(ctx context.Context, at int32) error {
		for _, u := range owed[r.tenantAt(at)] {
			if err := r.putOne(ctx, at, u); err != nil {
				return err
			}
		}
		return nil
	})
}

// owed is what is to be put back for a pass, by tenant.
func (r *run) owed(ctx context.Context, p *pass) (map[uuid.UUID][]tenant.ImportUndo, error) {
	all, err := r.Service.Owed(ctx, r.m.Name, p.name)
	out := map[uuid.UUID][]tenant.ImportUndo{}
	for _, u := range all {
		out[u.Tenant] = append(out[u.Tenant], u)
	}
	return out, err
}

// putBackGone restores what a load took away of tables that the mapping does not load any more.
func (r *run) putBackGone(ctx context.Context) error {
	all, err := r.Service.Owed(ctx, r.m.Name, "")
	if err != nil {
		return err
	}
	for _, u := range all {
		if r.m.loads(u.Target) {
			continue // at the end of its own load
		}
		at := slices.IndexFunc(r.list, func(l listed) bool { return l.tenant.ID == u.Tenant })
		if at < 0 || !slices.Contains(r.scope, int32(at)) {
			r.report.Notes = append(r.report.Notes, fmt.Sprintf("the %s %s of %s is still to be put back for a tenant that this run does not load: %s", u.Kind, u.Name, u.Target, u.Statement))
			continue
		}
		if err := r.putOne(ctx, int32(at), u); err != nil {
			return err
		}
	}
	return nil
}

// putOne restores one thing that a load took away.
func (r *run) putOne(ctx context.Context, at int32, u tenant.ImportUndo) error {
	err := r.inTx(ctx, fmt.Sprintf("put the %s %s back", u.Kind, u.Name), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, u.Statement); err != nil {
			return err
		}
		return r.held.Paid(ctx, tx, u.ID)
	})
	if err != nil {
		return tenant.WithTenant(err, r.list[at].tenant.Name)
	}
	return tenant.Checkpoint(ctx, "import/putback/after")
}

// addOwedKeys puts foreign keys into the model that an interrupted load has taken away from the schema it was read from.
func (i *Importer) addOwedKeys(ctx context.Context, schema string) error {
	owed, err := i.Service.Owed(ctx, i.m.Name, "")
	if err != nil {
		return err
	}
	for _, u := range owed {
		table := i.m.targetOf(u.Target)
		definition, ours := strings.CutPrefix(u.Statement, "ALTER TABLE "+quoteColumn(schema)+"."+quoteColumn(table)+" ADD CONSTRAINT ")
		t := i.target[table]
		if u.Kind != "foreign key" || !ours || t == nil || slices.ContainsFunc(t.foreignKeys, func(f foreignKey) bool { return f.name == u.Name }) {
			continue
		}
		if m := keyPattern.FindStringSubmatch(definition); m != nil {
			to := identifiers(m[2])
			t.foreignKeys = append(t.foreignKeys, foreignKey{u.Name, identifiers(m[1]), to[len(to)-1], identifiers(m[3])})
		}
	}
	return nil
}

// targetOf is the table of the entry of that name.
func (m *Mapping) targetOf(name string) string {
	for _, t := range m.Tables {
		if t.Name() == name && t.To != "" {
			return t.To
		}
	}
	return name
}

// keyPattern takes a foreign key apart as pg_get_constraintdef writes it.
var (
	keyPattern        = regexp.MustCompile(` FOREIGN KEY \(((?:"(?:[^"]|"")*"|[^")])*)\) REFERENCES ((?:"(?:[^"]|"")*"|[^"(])*)\(((?:"(?:[^"]|"")*"|[^")])*)\)`)
	identifierPattern = regexp.MustCompile(`"((?:[^"]|"")*)"|[^",. ]+`)
)

// identifiers are the names in a list of columns or a qualified name.
func identifiers(list string) []string {
	var out []string
	for _, m := range identifierPattern.FindAllStringSubmatch(list, -1) {
		name := m[0]
		if strings.HasPrefix(name, `"`) {
			name = strings.ReplaceAll(m[1], `""`, `"`)
		}
		out = append(out, name)
	}
	return out
}

// setSequences sets the sequences that a column is filled from, owned by it or not, behind the column's last value. One that
// several columns share is never set back.
const setSequences = `SELECT setval(s.seqrelid, CASE WHEN s.seqincrement > 0 THEN greatest(m.high, pg_sequence_last_value(s.seqrelid))
		ELSE least(m.low, pg_sequence_last_value(s.seqrelid)) END)
	FROM (SELECT max(%[1]s)::bigint AS high, min(%[1]s)::bigint AS low FROM %[2]s%[5]s) m
	JOIN pg_sequence s ON s.seqrelid IN (SELECT q.sequence FROM (` + sequencesOf + `) q WHERE q."table" = %[3]s::regclass AND q."column" = %[4]s)
	WHERE CASE WHEN s.seqincrement > 0 THEN m.high >= s.seqmin ELSE m.low <= s.seqmax END`

// sequencesOf are the sequences of all columns: those of their defaults, and those of identities.
const sequencesOf = `SELECT a.attrelid AS "table", a.attname AS "column", e.refobjid AS sequence FROM pg_attribute a
	JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	JOIN pg_depend e ON e.classid = 'pg_attrdef'::regclass AND e.objid = d.oid AND e.refclassid = 'pg_class'::regclass
	UNION ALL SELECT a.attrelid, a.attname, i.objid FROM pg_attribute a
	JOIN pg_depend i ON i.classid = 'pg_class'::regclass AND i.refclassid = i.classid AND i.refobjid = a.attrelid
		AND i.refobjsubid = a.attnum AND i.deptype = 'i'`

// sequenced are the columns that rows are loaded into and that are otherwise filled from a sequence.
func (r *run) sequenced(t *Table, q *query) []targetColumn {
	var out []targetColumn
	for _, c := range r.target[t.To].columns {
		if c.sequence && c.counts() && slices.ContainsFunc(q.fields, func(f field) bool { return f.name == c.name }) {
			out = append(out, c)
		}
	}
	return out
}

// finishTables sets sequences behind the loaded values and gathers statistics.
func (r *run) finishTables(ctx context.Context, p *pass) error {
	sequences := r.sequenced(p.table, p.q)
	return r.each(ctx, p.tenants, func(ctx context.Context, at int32) error {
		rel := r.relation(at, p.table)
		var b pgx.Batch
		for _, c := range sequences {
			within := ""
			if c.kind == kindDecimal {
				within = " WHERE " + quoteColumn(c.name) + " BETWEEN -9223372036854775808 AND 9223372036854775807"
			}
			b.Queue(fmt.Sprintf(setSequences, quoteColumn(c.name), r.rows(at, p.table), literal(rel), literal(c.name), within))
		}
		b.Queue("ANALYZE " + rel)
		err := targetError("finish table "+p.name, r.Postgres.SendBatch(ctx, &b).Close())
		return tenant.WithTenant(err, r.list[at].tenant.Name)
	})
}
