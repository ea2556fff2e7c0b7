package schema

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// Clone makes a schema and its role as a copy of another, within the server.
func (r *Resource) Clone(ctx context.Context, from, to tenant.Tenant, data bool) error {
	if r.Delegates() && !data {
		return invalid("copy the rows too, and delete them there", "a copy without rows would lack the history of the tool that migrates it: migrations.engine is exec")
	}
	conn, s, defs, err := r.hold(ctx, from)
	if err != nil {
		return err
	}
	server := serverName(conn.Conn().PgConn())
	rollback(ctx, conn)
	conn.Release()
	o := tenant.LoadOptions{Dumped: tenant.Dumped{Server: server, Fingerprint: s.fingerprint}, Role: to.Role, MakeRole: true, Parallel: 1, Log: func(string) {}}
	loading, err := r.Load(ctx, to, o)
	if err != nil {
		return err
	}
	defer loading.Stop()
	l := loading.(*loader)
	if err := l.define(defs.pre); err != nil {
		return err
	}
	sequences, err := r.copyRows(ctx, from, to, s, data)
	if err != nil {
		return err
	}
	l.texts = map[string]string{partSequences: sequences, partPost: defs.post, partGrants: defs.grants}
	return l.Finish(ctx)
}

// copyRows copies the rows of all tables in one transaction, as they are at one moment, and gives the SQL that sets the
// sequences. Without data, it is only the version book. s is the structure that the new schema has.
func (r *Resource) copyRows(ctx context.Context, from, to tenant.Tenant, s *structure, data bool) (sequences string, err error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Release()
	doing := fmt.Sprintf("copy the rows of schema %s to %s", from.Schema, to.Schema)
	err = r.retry(ctx, func(ctx context.Context) error {
		defer rollback(ctx, conn)
		sequences, err = r.copyOnce(ctx, conn, from, to, s, data)
		return err
	})
	return sequences, failure(doing, err)
}

func (r *Resource) copyOnce(ctx context.Context, conn *pgxpool.Conn, from, to tenant.Tenant, s *structure, data bool) (sequences string, err error) {
	pg := conn.Conn().PgConn()
	opening := append([]command{cmd("BEGIN ISOLATION LEVEL REPEATABLE READ")}, r.readSettings(from, s.major)...)
	var names []string
	for _, t := range s.tables {
		names = append(names, t.name)
	}
	for some := range slices.Chunk(names, lockedAtOnce) {
		opening = append(opening, lockTables(from, some, ""))
	}
	opening = append(opening, cmd("%s", tenant.LeaseFrom(ctx).HoldSQL()))
	if err := send(ctx, pg, opening); err != nil {
		if code(err) == undefinedTable {
			return "", changed(from)
		}
		return "", err
	}
	now, err := readStructure(ctx, pg, from)
	if err != nil {
		return "", err
	}
	if now.fingerprint != s.fingerprint {
		return "", changed(from)
	}
	d := &dump{r: r, t: from, s: now, conn: conn}
	if !data {
		d.s.sequences = slices.DeleteFunc(d.s.sequences, func(name string) bool { return name != bookTable+"_id_seq" })
	}
	if sequences, err = d.sequences(ctx); err != nil {
		return "", err
	}
	inserts, err := d.inserts(ctx, to, data)
	if err != nil {
		return "", err
	}
	return sequences, send(ctx, pg, append(append([]command{cmd("SET LOCAL search_path = %s", quote(to.Schema))}, inserts...), cmd("COMMIT")))
}

// inserts are the statements that copy rows. A value of a type that is the schema's own goes by way of text, since the
// other schema has a type of its own; one that stands for an object of the schema becomes that of the other.
func (d *dump) inserts(ctx context.Context, to tenant.Tenant, data bool) ([]command, error) {
	theirs := d.s.renaming(d.t)
	theirs.to = spelling{ident: quote(to.Schema), literal: text(to.Schema)}
	values := map[string][]string{}
	c := cmd("%s%s", members, copiedValues)
	c.row = func(row [][]byte) {
		value := quote(string(row[1]))
		switch {
		case is(row[3]):
			value = fmt.Sprintf("pg_catalog.regexp_replace(%s::pg_catalog.text, %s, %s)::%s", value, text(`^"?`+d.t.Schema+`"?\.`), text(quote(to.Schema)+"."), row[2])
		case row[2] != nil:
			value += "::pg_catalog.text::" + theirs.sql(string(row[2]))
		}
		values[string(row[0])] = append(values[string(row[0])], value)
	}
	if err := send(ctx, d.conn.Conn().PgConn(), []command{c}); err != nil {
		return nil, err
	}
	var commands []command
	for _, t := range d.s.tables {
		if !data && t.name != bookTable {
			continue
		}
		into, columns := t.name, ""
		if t.root != "" {
			into = t.root
		}
		if t.columns != "" {
			columns = "(" + t.columns + ")"
		} else {
			// A row without columns to give can only be made one by one, or of the defaults that it has.
			commands = append(commands, emptyRows(d.t, to, t.name, into))
			continue
		}
		commands = append(commands, cmd("INSERT INTO %s.%s %s OVERRIDING SYSTEM VALUE SELECT %s FROM ONLY %s.%s",
			quote(to.Schema), quote(into), columns, strings.Join(values[t.name], ", "), quote(d.t.Schema), quote(t.name)))
	}
	return commands, nil
}

// emptyRows copies as many rows as there are where no column can be given.
func emptyRows(from, to tenant.Tenant, name, into string) command {
	return cmd(`DO $do$ BEGIN
	FOR i IN 1 .. (SELECT count(*) FROM ONLY %s.%s) LOOP
		INSERT INTO %s.%s DEFAULT VALUES;
	END LOOP;
END $do$`, quote(from.Schema), quote(name), quote(to.Schema), quote(into))
}

const copiedValues = `SELECT r.relname, a.attname, CASE WHEN coalesce(e.typnamespace, t.typnamespace) = r.relnamespace OR t.typname LIKE 'reg%' THEN format_type(a.atttypid, a.atttypmod) END,
	t.typnamespace = 'pg_catalog'::regnamespace AND t.typname LIKE 'reg%'
FROM r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
	JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE r.relkind = 'r' ORDER BY r.relname, a.attnum`
