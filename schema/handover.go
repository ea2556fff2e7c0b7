package schema

import (
	"context"
	"fmt"

	"github.com/tenantctl/tenantctl/tenant"
)

// handedAtOnce is how many tables one transaction gives another owner: each takes some ten of the server's locks, with its
// indexes.
const handedAtOnce = 50

// handOver gives what the worker has made to the provisioning role, but for SECURITY DEFINER routines: those run with the
// rights of their owner, and become definer's, the tenant's role. Where there is none, they become nobody's, who may do
// nothing. It lists them. No code of the tenant's runs in this. Where a role other than the provisioning one owns the
// schema, all is that role's already.
func (w *worker) handOver(ctx context.Context, definer string) (definers []string, to string, err error) {
	if w.owner != "" {
		return nil, "", nil
	}
	r, self := w.keeper, quote(w.login.role)
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, "", err
	}
	defer conn.Release()
	join := cmd("GRANT %s TO CURRENT_USER", self)
	for more := true; more; {
		var tables []command
		list := cmd(ownedTables, text(w.login.role), handedAtOnce+1)
		list.row = func(row [][]byte) { tables = append(tables, cmd("ALTER TABLE %s OWNER TO CURRENT_USER", row[0])) }
		err := r.transact(ctx, conn, w.t, func(*place) []command { tables = nil; return []command{list} }, func(p *place) ([]command, error) {
			if more = len(tables) > handedAtOnce; !more {
				return nil, p.ours(w.t)
			}
			return append([]command{join}, tables[:handedAtOnce]...), p.ours(w.t)
		})
		if err != nil {
			return nil, "", refusal("give the tables of schema "+w.t.Schema+" to the provisioning role", conn, w.t, err)
		}
	}
	to = definer
	nobody := ""
	list := cmd(ownedDefiners, text(w.login.role))
	list.row = func(row [][]byte) { definers = append(definers, string(row[0])) }
	who := cmd("SELECT current_user || '_nobody'")
	who.row = func(row [][]byte) { nobody = string(row[0]) }
	err = r.transact(ctx, conn, w.t, func(*place) []command { definers = nil; return []command{list, who} }, func(p *place) ([]command, error) {
		commands := []command{join}
		if len(definers) > 0 && to == "" {
			to, commands = nobody, append(commands, cmd(makeNobody, text(nobody)))
		}
		return append(append(commands, giveDefiners(w.t, definers, to)...), cmd("REASSIGN OWNED BY %s TO CURRENT_USER", self)), p.ours(w.t)
	})
	return definers, to, refusal("give the objects of schema "+w.t.Schema+" to the provisioning role", conn, w.t, err)
}

// giveDefiners makes routines a role's. The provisioning role becomes a member of it, so that migrations can still replace
// them; the new owner of a routine needs the right to create in its schema, for as long as that takes.
func giveDefiners(t tenant.Tenant, routines []string, to string) []command {
	if len(routines) == 0 {
		return nil
	}
	schema, role := quote(t.Schema), quote(to)
	commands := []command{cmd("GRANT %s TO CURRENT_USER", role), cmd("GRANT CREATE ON SCHEMA %s TO %s", schema, role)}
	for _, f := range routines {
		commands = append(commands, cmd("ALTER ROUTINE %s OWNER TO %s", f, role))
	}
	return append(commands, cmd("REVOKE CREATE ON SCHEMA %s FROM %s", schema, role))
}

// definersGiven tells whose SECURITY DEFINER routines are now.
func definersGiven(routines []string, to string) string {
	return fmt.Sprintf("SECURITY DEFINER routines run with the rights of role %s now, and not of the provisioning role: %s", to, listed(routines))
}

const (
	ownedTables = `SELECT c.oid::regclass FROM pg_shdepend s JOIN pg_class c ON c.oid = s.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = to_regrole(quote_ident(%s)) AND s.deptype = 'o' AND s.classid = 'pg_class'::regclass
	AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY c.oid LIMIT %d`
	ownedDefiners = `SELECT p.oid::regprocedure FROM pg_shdepend s JOIN pg_proc p ON p.oid = s.objid AND p.prosecdef
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = to_regrole(quote_ident(%s)) AND s.deptype = 'o' AND s.classid = 'pg_proc'::regclass
	AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1::text`
	// makeNobody makes the role that owns what nobody's rights are for.
	makeNobody = `DO $do$ BEGIN
	IF to_regrole(quote_ident(%[1]s)) IS NULL THEN
		EXECUTE format('CREATE ROLE %%I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT', %[1]s);
	END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN -- another process was faster
END $do$`
)
