package schema

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
)

// errand is what a login is made for.
type errand struct {
	infix   string // of the login's name. No tenant's role has a $ in its name
	mark    string // begins its comment; the operation's id follows
	valid   string // after that a login that a killed process has left lets nobody in
	purpose string // in messages
}

var (
	probing = errand{"$probe_", "tenantctl-probe:", "15 minutes", "probe"}
	working = errand{"$work_", "tenantctl-work:", "2 days", "work"}
)

// login is a role that can log in for the time of an errand: a member of one role at most. Of its password the server gets
// only what verifies it.
type login struct {
	r              *Resource
	errand         errand
	acts           string // the role as which it works from its first statement on; empty for its own
	role, password string
}

// newLogin draws a name that begins with of, and a password. Nothing is made yet.
func (r *Resource) newLogin(e errand, of, acts string) (*login, error) {
	random := make([]byte, 4)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	l := &login{r: r, errand: e, acts: acts, password: rand.Text() + rand.Text(), role: e.base(of) + hex.EncodeToString(random)}
	return l, nil
}

// base begins the names of an errand's logins. 63 bytes are the longest name there is, 8 of them are drawn.
func (e errand) base(of string) string { return of[:min(len(of), 63-len(e.infix)-8)] + e.infix }

// make are the commands that make the login.
func (l *login) make(ctx context.Context) ([]command, error) {
	secret, err := verifier(l.password)
	if err != nil {
		return nil, err
	}
	role, valid := quote(l.role), l.errand.valid
	if tenant.LeaseFrom(ctx) == nil { // no operation's end tells when a killed process is done with it
		valid = probing.valid
	}
	commands := []command{
		cmd("CREATE ROLE %s LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD %s", role, text(secret)),
		cmd("COMMENT ON ROLE %s IS %s", role, text(l.errand.mark+operationOf(ctx))),
		cmd("DO $do$ BEGIN EXECUTE format('ALTER ROLE %%I VALID UNTIL %%L', %s, now() + interval %s); END $do$", text(l.role), text(valid)),
	}
	if l.acts != "" {
		commands = append(commands, cmd("GRANT %s TO %s", quote(l.acts), role), cmd("ALTER ROLE %s SET role = %s", role, quote(l.acts)))
	}
	return commands, nil
}

func operationOf(ctx context.Context) string {
	if l := tenant.LeaseFrom(ctx); l != nil {
		return l.Operation.String()
	}
	return uuid.Nil.String()
}

// as is how the login connects to the server or pooler of to.
func (l *login) as(to *pgx.ConnConfig) *pgx.ConnConfig {
	cfg := to.Copy()
	cfg.User, cfg.Password = l.role, l.password
	return cfg
}

// connect logs in at the server or pooler of to, and makes sure that it works as it should.
func (l *login) connect(ctx context.Context, to *pgx.ConnConfig) (*pgx.Conn, error) {
	cfg := l.as(to)
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, l.shutOut(cfg, err)
	}
	if err := l.is(ctx, conn); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // of no use any more
		return nil, err
	}
	return conn, nil
}

// is refuses a connection that works as another role.
func (l *login) is(ctx context.Context, conn *pgx.Conn) error {
	wants, is := l.acts, ""
	if wants == "" {
		wants = l.role
	}
	if err := conn.QueryRow(ctx, "SELECT current_user").Scan(&is); err != nil {
		return failure("log in to "+l.errand.purpose, err)
	}
	if is == wants {
		return nil
	}
	return &tenant.Error{
		Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: fmt.Sprintf("a login with the rights of %s works as %s", wants, is),
		Hint: "let the pooler log in as the user who connects, without a user of its own for the database",
	}
}

// shutOut says why the login was of no use.
func (l *login) shutOut(cfg *pgx.ConnConfig, err error) error {
	err = unreachable(cfg, err)
	var e *tenant.Error
	if errors.As(err, &e) && errors.Is(e.Kind, tenant.ErrUnreachable) {
		before, _, _ := strings.Cut(l.role, "$")
		e.Msg = strings.ReplaceAll(e.Msg, l.role, "a role with the rights of "+before) // the same for all tenants but for this
		e.Hint = "let roles whose names begin as the tenants' do log in with a password (pg_hba.conf; a pooler looks them up by auth_query)"
	}
	return err
}

// takeBack ends the login's sessions and removes it.
func (l *login) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	return l.r.dropLogin(ctx, l.errand, l.role)
}

// dropLogin removes a login, if it is there, with its rights. What it owns has another owner before.
func (r *Resource) dropLogin(ctx context.Context, e errand, role string) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	as := tenant.Tenant{Role: role}
	there := false
	look := cmd("SELECT FROM pg_roles WHERE rolname = %s", text(role))
	look.row = func([][]byte) { there = true }
	err = send(ctx, conn.Conn().PgConn(), []command{look})
	if err == nil && there {
		err = r.endSessions(ctx, conn, as)
	}
	if err == nil && there {
		defer rollback(ctx, conn)
		err = send(ctx, conn.Conn().PgConn(), append(append([]command{cmd("BEGIN")}, dropRole(as)...), cmd("COMMIT")))
		if code(err) == undefinedObject {
			return nil // another process has swept it meanwhile
		}
	}
	return refusal("remove role "+role+", which was made to "+e.purpose, conn, as, err)
}

// Sweep removes the logins whose operations have ended.
func (r *Resource) Sweep(ctx context.Context, ended func(uuid.UUID) (bool, error)) error {
	for _, e := range []errand{probing, working} {
		if err := r.sweep(ctx, e, func(_ string, id uuid.UUID) (bool, error) { return ended(id) }); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the logins of an errand whose operations have ended, and those that are valid no longer and have no session.
func (r *Resource) sweep(ctx context.Context, e errand, ended func(role string, operation uuid.UUID) (bool, error)) error {
	doing := "look for roles made to " + e.purpose
	rows, err := r.pool.Query(ctx, `SELECT r.rolname, d.description, coalesce(r.rolvaliduntil < now(), false) AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.usesysid = r.oid)
		FROM pg_shdescription d JOIN pg_roles r ON r.oid = d.objoid
		WHERE d.classoid = 'pg_authid'::regclass AND starts_with(d.description, $1)`, e.mark)
	if err != nil {
		return failure(doing, err)
	}
	left, stale := map[string]uuid.UUID{}, map[string]bool{}
	var role, mark string
	var old bool
	_, err = pgx.ForEachRow(rows, []any{&role, &mark, &old}, func() error {
		stale[role] = old
		if id, err := uuid.Parse(strings.TrimPrefix(mark, e.mark)); err == nil {
			left[role] = id
		}
		return nil
	})
	if err != nil {
		return failure(doing, err)
	}
	for role, id := range left {
		over, err := ended(role, id)
		if err == nil && (over || stale[role]) {
			err = r.dropLogin(ctx, e, role)
			if !over && code(err) != "" {
				err = nil // it is another catalog's, whose next work removes it
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
