package schema

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// definitions are the SQL that makes a schema's objects, with psql's variables in the place of the tenant's names.
type definitions struct {
	pre, post, grants string
	pgDump            string // version of pg_dump
}

// writing is the version of the way in which definitions are written: older ones in the catalog are not used.
const writing = 1

// definitionKey is what schemas with the same definitions have in common.
type definitionKey struct {
	fingerprint, rights string
	server              int
}

func (s *structure) key() definitionKey { return definitionKey{s.fingerprint, s.rights, s.major} }

const (
	keptDefinitions = 16        // structures in memory
	unusedFor       = "90 days" // until definitions leave the catalog
)

// definitionCache keeps the definitions used last, and lets pg_dump run once for each structure.
type definitionCache struct {
	sync.Mutex
	kept    map[definitionKey]*definitions
	running map[definitionKey]chan struct{}
}

func (c *definitionCache) get(k definitionKey) *definitions {
	c.Lock()
	defer c.Unlock()
	return c.kept[k]
}

func (c *definitionCache) put(k definitionKey, d *definitions) {
	c.Lock()
	defer c.Unlock()
	if len(c.kept) >= keptDefinitions || c.kept == nil {
		c.kept = map[definitionKey]*definitions{}
	}
	c.kept[k] = d
}

// begin waits until nobody else makes the definitions for a structure.
func (c *definitionCache) begin(ctx context.Context, k definitionKey) (done func(), err error) {
	for {
		c.Lock()
		other, busy := c.running[k]
		if !busy {
			if c.running == nil {
				c.running = map[definitionKey]chan struct{}{}
			}
			mine := make(chan struct{})
			c.running[k] = mine
			c.Unlock()
			return func() {
				c.Lock()
				delete(c.running, k)
				c.Unlock()
				close(mine)
			}, nil
		}
		c.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, failure("wait for the definitions", ctx.Err())
		}
	}
}

// known gives the definitions of a structure from memory or the catalog, nil where they are in neither.
func (r *Resource) known(ctx context.Context, conn *pgxpool.Conn, s *structure) (*definitions, error) {
	if len(s.other) > 0 {
		return nil, nil
	}
	if d := r.definitions.get(s.key()); d != nil {
		return d, nil
	}
	there, err := hasCache(ctx, conn)
	if err != nil || !there {
		return nil, err
	}
	var d *definitions
	c := cmd(`SELECT pre_data, post_data, grants, pg_dump FROM tenantctl.structures WHERE fingerprint = %s AND rights = %s AND server = %d AND writing = %d`,
		text(s.fingerprint), text(s.rights), s.major, writing)
	c.row = func(row [][]byte) { d = &definitions{string(row[0]), string(row[1]), string(row[2]), string(row[3])} }
	if err := send(ctx, conn.Conn().PgConn(), []command{c}); err != nil {
		return nil, failure("look for the definitions in the catalog", err)
	}
	if d != nil {
		r.definitions.put(s.key(), d)
	}
	return d, nil
}

// hasCache tells whether there is a catalog that keeps definitions.
func hasCache(ctx context.Context, conn *pgxpool.Conn) (there bool, err error) {
	c := cmd("SELECT to_regclass('tenantctl.structures') IS NOT NULL")
	c.row = func(row [][]byte) { there = is(row[0]) }
	if err := send(ctx, conn.Conn().PgConn(), []command{c}); err != nil {
		return false, failure("look for the catalog", err)
	}
	return there, nil
}

// changed says that a structure did not hold still.
func changed(t tenant.Tenant) error {
	return &tenant.Error{
		Kind: tenant.ErrBusy, Store: tenant.KindPostgres, Msg: fmt.Sprintf("the tables of schema %s change all the time", t.Schema),
		Hint: "try again when its migration is done",
	}
}

// define makes the definitions of a schema by pg_dump and keeps them in memory, and in the catalog if they are to stay. It is
// nil where the structure is another by now.
func (r *Resource) define(ctx context.Context, t tenant.Tenant, s *structure, stay bool) (*definitions, error) {
	done, err := r.definitions.begin(ctx, s.key())
	if err != nil {
		return nil, err
	}
	defer done()
	if d := r.definitions.get(s.key()); d != nil && len(s.other) == 0 {
		return d, nil
	}
	program, err := r.client(ctx, s.major)
	if err != nil {
		return nil, err
	}
	raw, err := r.pgDump(ctx, t, program)
	if err != nil {
		return nil, err
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	after, extensions, err := r.inspect(ctx, conn, t)
	if err != nil || after.key() != s.key() {
		return nil, err
	}
	d := raw.write(after.renaming(t), extensions)
	d.pgDump = program.version
	if len(s.other) > 0 {
		return d, nil
	}
	r.definitions.put(s.key(), d)
	if !stay {
		return d, nil
	}
	return d, r.keep(ctx, conn, s, d)
}

// keep writes definitions into the catalog, if there is one.
func (r *Resource) keep(ctx context.Context, conn *pgxpool.Conn, s *structure, d *definitions) error {
	there, err := hasCache(ctx, conn)
	if err != nil || !there {
		return err
	}
	_, err = conn.Exec(ctx, `WITH old AS (DELETE FROM tenantctl.structures WHERE used_at < now() - $9::interval)
		INSERT INTO tenantctl.structures (fingerprint, rights, server, writing, pre_data, post_data, grants, pg_dump) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (fingerprint, rights, server, writing) DO UPDATE SET used_at = now()`,
		s.fingerprint, s.rights, s.major, writing, d.pre, d.post, d.grants, d.pgDump, unusedFor)
	return failure("keep the definitions in the catalog", err)
}

// use notes that definitions were used, once a day.
func (r *Resource) use(ctx context.Context, conn *pgxpool.Conn, s *structure) error {
	there, err := hasCache(ctx, conn)
	if err != nil || !there || len(s.other) > 0 {
		return err
	}
	_, err = conn.Exec(ctx, `UPDATE tenantctl.structures SET used_at = now()
		WHERE fingerprint = $1 AND rights = $2 AND server = $3 AND writing = $4 AND used_at < now() - interval '1 day'`, s.fingerprint, s.rights, s.major, writing)
	return failure("note in the catalog that definitions are in use", err)
}

// inspect reads the structure of a schema in a transaction of its own, and which extensions it needs.
func (r *Resource) inspect(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) (s *structure, extensions []string, err error) {
	defer rollback(ctx, conn)
	pg := conn.Conn().PgConn()
	opening := append([]command{cmd("BEGIN READ ONLY")}, r.readSettings(t, major(pg))...)
	if err := send(ctx, pg, opening); err != nil {
		return nil, nil, failure("begin in schema "+t.Schema, err)
	}
	s, at, err := structureOf(ctx, pg, t)
	if err == nil && !untagged(at.schema, at.said) { // whether it is the tenant's, the caller has asked
		err = at.ours(t)
	}
	if err != nil {
		return nil, nil, failure("read the structure of schema "+t.Schema, err)
	}
	needed := cmd("%s%s", members, neededExtensions)
	needed.row = func(row [][]byte) { extensions = append(extensions, string(row[0])) }
	if err := send(ctx, pg, []command{needed, cmd("COMMIT")}); err != nil {
		return nil, nil, failure("read the extensions that schema "+t.Schema+" uses", err)
	}
	return s, extensions, nil
}

// dumped is what pg_dump and pg_restore wrote.
type dumped struct{ pre, post, all string }

// pgDump runs pg_dump for the definitions of one schema.
func (r *Resource) pgDump(ctx context.Context, t tenant.Tenant, program client) (d dumped, err error) {
	dir, err := os.MkdirTemp("", "tenantctl-")
	if err != nil {
		return d, invalid("check the folder for temporary files", "make a folder for pg_dump: %v", migrationfile.Reason(err))
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "definitions")
	// A pooler takes no options; without this one, pg_dump's look for views can take minutes among thousands of tenants.
	env := []string{"PGOPTIONS=-c enable_mergejoin=off -c statement_timeout=0"}
	shared, err := r.shared(ctx)
	if err != nil {
		return d, err
	}
	if shared {
		env = nil
	}
	lockWait := fmt.Sprintf("--lock-wait-timeout=%d", milliseconds(r.cfg.LockTimeout))
	// The name is a pattern, in which quotes keep everything as it is.
	_, err = r.run(ctx, env, program.dump, "--format=custom", "--compress=0", "--file="+file, `--schema=`+quote(t.Schema), "--section=pre-data", "--section=post-data",
		"--no-owner", "--no-tablespaces", "--no-publications", "--no-subscriptions", "--encoding=UTF8", lockWait)
	if err != nil {
		return d, err
	}
	for _, part := range []struct {
		text *string
		args []string
	}{
		{&d.pre, []string{"--section=pre-data", "--no-acl"}},
		{&d.post, []string{"--section=post-data", "--no-acl"}},
		{&d.all, []string{"--section=pre-data", "--section=post-data"}},
	} {
		written, err := r.run(ctx, nil, program.restore, append(part.args, "--no-owner", "--no-tablespaces", "--file=-", file)...)
		if err != nil {
			return d, err
		}
		*part.text = settable(written)
	}
	return d, nil
}

// shared tells whether a pooler shares sessions between clients.
func (r *Resource) shared(ctx context.Context) (bool, error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	return r.sharesSessions(ctx, conn)
}

// needs begins a line of the definitions that names an extension.
const needs = "-- needs extension "

// write puts variables in the place of names and leaves out what is not of the schema's objects.
func (d dumped) write(names sqltext.Renaming, extensions []string) *definitions {
	heading := "SET check_function_bodies = off;\nSET search_path = :\"tenant_schema\";\n"
	var pre strings.Builder
	for _, e := range extensions {
		pre.WriteString(needs + quote(e) + "\n")
	}
	statements := func(sql string, keep func([]sqltext.Token) bool) string {
		var b strings.Builder
		tables := otherAccess(sql)
		for _, s := range statementsOf(sql) {
			if keep(s.tokens) || tables && sqltext.Begins(s.tokens, "set", "default_table_access_method") {
				b.WriteString(names.Tokens(sql, s.tokens) + ";\n")
			}
		}
		return b.String()
	}
	pre.WriteString(heading + statements(d.pre, isDefinition))
	return &definitions{pre: pre.String(), post: heading + statements(d.post, isDefinition), grants: statements(d.all, isGrant)}
}

// sqlStatement is one of several in a text.
type sqlStatement struct {
	text   string
	tokens []sqltext.Token // of the whole text
}

// statementsOf cuts a text into statements. Lines that are for psql, which begin with a backslash, are left out.
func statementsOf(sql string) []sqlStatement {
	tokens, _ := sqltext.Lex(sql)
	var out []sqlStatement
	for _, s := range sqltext.Split(tokens) {
		for len(s) > 0 && s[0].Text == `\` {
			line, n := s[0].Line, 0
			for n < len(s) && s[n].Line == line {
				n++
			}
			s = s[n:]
		}
		if len(s) > 0 {
			last := s[len(s)-1]
			out = append(out, sqlStatement{sql[s[0].Start : last.Start+len(last.Text)], s})
		}
	}
	return out
}

// isDefinition leaves out pg_dump's settings, the schema itself, and rights.
func isDefinition(s []sqltext.Token) bool {
	return !isGrant(s) && !sqltext.Begins(s, "set") && !sqltext.Begins(s, "select") && !sqltext.Begins(s, "create", "schema") && !sqltext.Begins(s, "comment", "on", "schema") && !sqltext.Begins(s, "alter", "schema")
}

func isGrant(s []sqltext.Token) bool {
	return sqltext.Begins(s, "grant") || sqltext.Begins(s, "revoke") || sqltext.Begins(s, "alter", "default", "privileges")
}

// otherAccess tells whether a table is kept in another way than PostgreSQL's own.
func otherAccess(sql string) bool {
	for _, s := range statementsOf(sql) {
		if sqltext.Begins(s.tokens, "set", "default_table_access_method") && s.tokens[len(s.tokens)-1].Name() != "heap" {
			return true
		}
	}
	return false
}

// readSettings are the settings in which a schema is read, so that rows look the same wherever they are read.
func (r *Resource) readSettings(t tenant.Tenant, major int) []command {
	settings := []string{
		"search_path = " + quote(t.Schema), fmt.Sprintf("lock_timeout = %d", milliseconds(r.cfg.LockTimeout)),
		"client_encoding = 'UTF8'", "DateStyle = 'ISO, YMD'", "IntervalStyle = postgres", "TimeZone = 'UTC'", "extra_float_digits = 3", "bytea_output = hex", "xmloption = content",
		"synchronize_seqscans = off", "row_security = off",
	}
	return append(local(settings), unlimited(major)...)
}

// unlimited takes away the limits of time that are meant for short work.
func unlimited(major int) []command {
	settings := []string{"statement_timeout = 0", "idle_in_transaction_session_timeout = 0"}
	if major >= 17 {
		settings = append(settings, "transaction_timeout = 0")
	}
	return local(settings)
}

func local(settings []string) []command {
	var commands []command
	for _, s := range settings {
		commands = append(commands, cmd("SET LOCAL %s", s))
	}
	return commands
}

// attempts is how often a dump begins again where the structure changes meanwhile.
const attempts = 8

// pause is between them.
const pause = 100 * time.Millisecond
