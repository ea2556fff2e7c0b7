package schema

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// Command is psql in the tenant's schema, as the tenant's role (or the owner of an adopted schema) unless o says
// otherwise. env is what is to be added to the program's own. cleanup takes back what that needed.
func (r *Resource) Command(ctx context.Context, t tenant.Tenant, o tenant.ShellOptions) (program string, args, env []string, cleanup func(), err error) {
	nothing := func() {}
	program, err = exec.LookPath("psql")
	if err != nil {
		return "", nil, nil, nothing, &tenant.Error{
			Kind: tenant.ErrInvalid, Store: tenant.KindPostgres, Msg: "psql is not on the PATH",
			Hint: "install PostgreSQL's client: apt-get install postgresql-client, or brew install libpq", Err: err,
		}
	}
	if err := r.reach(ctx, t); err != nil {
		return "", nil, nil, nothing, err
	}
	shared, err := r.shared(ctx)
	if err != nil {
		return "", nil, nil, nothing, err
	}
	if shared {
		return "", nil, nil, nothing, &tenant.Error{Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: "psql needs a session of its own, and " + sharing, Hint: hintSession}
	}
	if env, err = r.clientEnv(); err != nil {
		return "", nil, nil, nothing, err
	}
	settings := " -c search_path=" + r.asOption(t.Schema)
	role, err := r.shellRole(ctx, t, o)
	if err != nil {
		return "", nil, nil, nothing, err
	}
	cleanups := []func(){}
	cleanup = func() {
		for _, f := range cleanups {
			f()
		}
	}
	if role != "" {
		settings += " -c role=" + strings.NewReplacer(`\`, `\\`, " ", `\ `).Replace(role)
		revoke, err := r.lendRole(ctx, role)
		if err != nil {
			return "", nil, nil, nothing, err
		}
		cleanups = append(cleanups, revoke)
	}
	env = append(env, "PGOPTIONS="+strings.TrimSpace(os.Getenv("PGOPTIONS")+settings))
	if o.Prompt != "" {
		rc, err := psqlrc(o)
		if err != nil {
			cleanup()
			return "", nil, nil, nothing, err
		}
		env = append(env, "PSQLRC="+rc)
		cleanups = append(cleanups, func() { _ = os.Remove(rc) })
	}
	return program, nil, env, cleanup, nil
}

// shellRole is whose rights psql has; empty for those of the provisioning role.
func (r *Resource) shellRole(ctx context.Context, t tenant.Tenant, o tenant.ShellOptions) (string, error) {
	if o.AsProvisioner {
		if !t.Adopted {
			return "", nil
		}
		return "", r.ownsAlone(ctx, t)
	}
	if r.hasRole(t) {
		if t.State == tenant.Suspended || t.State == tenant.Deleted {
			return "", invalid("add --as-provisioner to look into it all the same", "the tenant is %s, and its role has no way into schema %s", t.State, t.Schema)
		}
		return t.Role, nil
	}
	owners, err := r.otherOwners(ctx, []tenant.Tenant{t})
	return owners[t.Schema], err
}

// lendRole makes the provisioning role a member of role, where it is not, for as long as psql runs.
func (r *Resource) lendRole(ctx context.Context, role string) (revoke func(), err error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	may := false
	ask := cmd(`SELECT pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END)
FROM pg_roles r WHERE r.rolname = %s`, text(role))
	ask.row = func(row [][]byte) { may = is(row[0]) }
	if err := send(ctx, conn.Conn().PgConn(), []command{ask}); err != nil {
		return nil, failure("look whether role "+role+" may be taken", err)
	}
	if may {
		return func() {}, nil
	}
	if err := send(ctx, conn.Conn().PgConn(), []command{cmd("GRANT %s TO CURRENT_USER", quote(role))}); err != nil {
		return nil, failure("take role "+role, err)
	}
	return func() {
		const patience = 10 * time.Second // the person is back at the prompt already
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := r.acquire(ctx)
		if err == nil {
			err = send(ctx, conn.Conn().PgConn(), []command{cmd("REVOKE %s FROM CURRENT_USER", quote(role))})
			conn.Release()
		}
		if err != nil && r.cfg.Warn != nil {
			r.cfg.Warn(fmt.Sprintf("the provisioning role is still a member of %s; run: REVOKE %s FROM CURRENT_USER", role, quote(role)))
		}
	}, nil
}

// psqlrc writes a start file with the prompt, which reads the person's own first.
func psqlrc(o tenant.ShellOptions) (string, error) {
	own := os.Getenv("PSQLRC")
	if own == "" {
		if home, err := os.UserHomeDir(); err == nil {
			own = filepath.Join(home, ".psqlrc")
		}
	}
	var text strings.Builder
	if _, err := os.Stat(own); err == nil {
		fmt.Fprintf(&text, "\\i '%s'\n", strings.NewReplacer(`\`, `\\`, "'", "''").Replace(own))
	}
	prompt := o.Prompt
	if o.Danger {
		prompt = "%[%033[31m%]" + prompt + "%[%033[0m%]"
	}
	fmt.Fprintf(&text, "\\set PROMPT1 '%[1]s%%R%%x%%# '\n\\set PROMPT2 '%[1]s%%R%%x%%# '\n", prompt)
	f, err := os.CreateTemp("", "tenantctl-*.psqlrc")
	if err != nil {
		return "", invalid("check the folder for temporary files", "write a start file for psql: %v", err)
	}
	_, err = f.WriteString(text.String())
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", invalid("check the folder for temporary files", "write a start file for psql: %v", err)
	}
	return f.Name(), nil
}
