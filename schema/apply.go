package schema

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// apply is what a transaction does of some stages that may be together, or of one that may not: then each statement is
// a message of its own. Where others follow it need not wait for the disk: the last one does, and what is lost with the
// server before that is done again.
func (r *Resource) apply(group []stage, p *place) []command {
	last := group[len(group)-1]
	var commands []command
	if last.more {
		commands = append(commands, cmd(unhurried))
	}
	for _, s := range group {
		if s.File != nil {
			commands = append(commands, r.applied(s, p)...)
		}
	}
	return commands
}

// unhurried makes a transaction's commit not wait for the disk.
const unhurried = "SET LOCAL synchronous_commit = off"

// applied are a stage's statements and what follows them.
func (r *Resource) applied(s stage, p *place) []command {
	var commands []command
	all := s.program().Statements
	for i := range all {
		c := commandOf(&all[i])
		c.own = !s.together()
		commands = append(commands, c)
	}
	if !s.together() { // what is plain cannot change it
		commands = append(commands, p.unchanged())
	}
	return append(commands, r.conclude(s)...)
}

// conclude is what follows a migration: goose's row, and rights.
func (r *Resource) conclude(s stage) []command {
	p := s.program()
	commands := []command{cmd("%s", p.VersionSQL)}
	if p.Publishes && r.cfg.Roles && !s.tenant.Adopted { // what PUBLIC may do in an adopted schema is the other tool's
		commands = append(commands, cmd("%s", unpublish))
	}
	return commands
}

func (s *stage) record(ctx context.Context) command {
	return cmd("%s", tenant.LeaseFrom(ctx).RecordSQL(s.tenant.ID, tenant.KindPostgres, s.to, s.has))
}

func commandOf(s *migrationfile.Statement) command {
	return command{sql: s.SQL, of: s, count: s.Commands}
}

// strayed is the SQLSTATE of a file that ends elsewhere, or as somebody else, than it began.
const strayed = "TC003"

// began reads where names are looked up, and who is at work.
func began(p *place) command {
	c := cmd("SELECT pg_catalog.current_schemas(false)::text, current_user, session_user")
	c.row = func(row [][]byte) { p.began = [3]string{string(row[0]), string(row[1]), string(row[2])} }
	return c
}

// unchanged fails where that is no longer so.
func (p *place) unchanged() command {
	return cmd(stillThere, text(p.began[0]), text(p.began[1]), text(p.began[2]))
}

// stillThere fails where a migration has left the tenant's schema for another, or works as another role.
const stillThere = `DO $do$ BEGIN
	IF current_user IS DISTINCT FROM %[2]s OR session_user IS DISTINCT FROM %[3]s THEN
		RAISE EXCEPTION 'the file leaves the role changed' USING ERRCODE = '` + strayed + `', HINT = 'end the file with RESET ROLE';
	ELSIF pg_catalog.current_schemas(false)::pg_catalog.text IS DISTINCT FROM %[1]s THEN
		RAISE EXCEPTION 'the file leaves search_path changed' USING ERRCODE = '` + strayed + `',
			HINT = 'what follows would land in another schema; a search_path is set for a single function: CREATE FUNCTION ... SET search_path = ...';
	END IF;
END $do$`

// unpublish takes from PUBLIC what PostgreSQL gives it on new routines and types. The objects of a schema are found
// by their dependence on it, which is indexed: pg_proc and pg_type hold those of all tenants.
const unpublish = `DO $do$ DECLARE target text; BEGIN
	FOR target IN
		SELECT 'ROUTINE ' || p.oid::regprocedure FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
			WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(current_schema()))
				AND d.classid = 'pg_proc'::regclass AND pg_has_role(p.proowner, 'USAGE') AND has_function_privilege('public', p.oid, 'EXECUTE')
		UNION ALL
		SELECT 'TYPE ' || t.oid::regtype FROM pg_depend d JOIN pg_type t ON t.oid = d.objid
			WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(current_schema()))
				AND d.classid = 'pg_type'::regclass AND pg_has_role(t.typowner, 'USAGE') AND has_type_privilege('public', t.oid, 'USAGE')
	LOOP
		EXECUTE 'REVOKE ALL ON ' || target || ' FROM PUBLIC';
	END LOOP;
END $do$`

// migrationFailure says which statement of which file of a transaction's failed, and why; there is none where it did
// not come to one.
func migrationFailure(group []stage, err error) error {
	var at *refusedCommand
	var pg *pgconn.PgError
	var ours *tenant.Error
	var m *migrationfile.File
	for _, s := range group {
		if s.File != nil && (m == nil || errors.As(err, &at) && s.program().Has(at.of)) {
			m = s.File
		}
	}
	switch {
	case m == nil:
		return failure("migrate", err)
	case errors.As(tenant.Fenced(err), &ours):
		return ours
	case !errors.As(err, &at) || !errors.As(err, &pg):
		return failure(m.Base(), err)
	}
	e := &tenant.Error{Kind: tenant.ErrMigration, Code: pg.Code, Store: tenant.KindPostgres, Err: err}
	hint, kind := meaning(pg)
	if kind != nil {
		e.Kind = kind
	}
	e.Hint = hint
	where, said := m.Base()+": ", told(pg)
	if at.of != nil {
		where, e.Statement = migrationfile.InFile(m.Path, at.of.Line+at.line), sqltext.Show(at.of.Text)
	}
	if m.UsesEnv {
		said = withoutEnvironment(said, string(m.Content))
	}
	e.Msg = where + said
	nameHolders(e, err)
	var stopped *stoppedAt
	if errors.As(err, &stopped) && stopped.Of > 1 {
		e.Msg += "; " + stopped.At()
		e.Hint = fmt.Sprintf("%s; then run the same command again: it goes on at statement %d", cmp.Or(hint, "put the cause right"), stopped.Done+1)
		var lost *tenant.Error
		if errors.As(group[0].lost(stopped.Done), &lost) { // the same command would be refused
			e.Hint = fmt.Sprintf("%s; %s", cmp.Or(hint, "put the cause right"), lost.Hint)
		}
	}
	return e
}

// withoutEnvironment takes from a message what it quotes of the statement and the file does not have: values that
// came from the environment.
func withoutEnvironment(said, file string) string {
	return inQuotes.ReplaceAllStringFunc(said, func(q string) string {
		if strings.Contains(file, strings.Trim(q, `"`)) {
			return q
		}
		return `"…"`
	})
}
