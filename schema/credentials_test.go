package schema

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// dsn is how an application would write a login.
func dsn(l tenant.Login) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(l.User, l.Password), Host: net.JoinHostPort(l.Host, strconv.Itoa(l.Port)), Path: "/" + l.Database, RawQuery: l.Options}
	return u.String()
}

func TestLoginIsEnoughToConnect(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	must(t, b.SetPassword(t.Context(), tn, password, nil))
	l := b.Login(tn)
	if l.Store != tenant.KindPostgres || l.User != tn.Role || l.Schema != tn.Schema || l.Password != "" || l.Options != "sslmode=disable" {
		t.Errorf("the login is %+v", l)
	}
	l.Password = password
	conn := connect(t, dsn(l))
	if got := scalar(t, conn, "SELECT current_user || ' ' || current_schema() || ' ' || count(*) FROM customers"); got != tn.Role+" "+tn.Schema+" 0" {
		t.Errorf("the session is %s", got)
	}

	without := b.over(example, func(c *Config) { c.Roles = false })
	l = without.Login(tn)
	if l.User != "" || l.Note == "" {
		t.Errorf("without roles, the login is %+v", l)
	}
	l.User, l.Password = b.prefix+"provisioner", "provisioner-secret"
	conn = connect(t, dsn(l))
	if got := scalar(t, conn, "current_schema()"); got != tn.Schema {
		t.Errorf("the session is in %s", got)
	}
}

func TestAPasswordIsSetOnceItIsSealed(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	must(t, b.SetPassword(t.Context(), tn, password, nil))
	l := b.Login(tn)
	l.Password = password
	refusal := errors.New("not now")
	for name, seal := range map[string]func(context.Context) error{
		"refused": func(context.Context) error { return refusal },
		"busy":    func(context.Context) error { return &tenant.Error{Kind: tenant.ErrBusy, Msg: "not now"} }, // not to be tried again
	} {
		calls := 0
		err := b.SetPassword(t.Context(), tn, "another", func(ctx context.Context) error { calls++; return seal(ctx) })
		if err == nil || calls != 1 {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
		connect(t, dsn(l)) // the old one opens
	}
	sealed := false
	must(t, b.SetPassword(t.Context(), tn, "another", func(context.Context) error {
		sealed = true
		connect(t, dsn(l)) // nothing is committed yet
		return nil
	}))
	l.Password = "another"
	connect(t, dsn(l))
	if !sealed {
		t.Error("it was set unsealed")
	}
	refused(t, b.SetPassword(t.Context(), b.tenant("missing"), password, func(context.Context) error {
		t.Error("what is refused was sealed")
		return nil
	}), tenant.ErrMissing, "role")
}

func TestEncryptionSettingsAreHandedOn(t *testing.T) {
	for given, want := range map[string]string{
		"postgres://u:p@h/d": "",
		"postgres://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca%20x.pem": "sslmode=verify-full sslrootcert=/etc/ca x.pem",
		"host=h sslmode=require sslcert='/a b' sslpassword=secret":               "sslcert=/a b sslmode=require",
		"postgres://u:sslmode=no@h/d?sslkey=k":                                   "sslkey=k",
	} {
		var got []string
		for k, v := range tlsSettings(given) {
			got = append(got, k+"="+v)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s has %q, want %q", given, got, want)
		}
	}
}

func TestShellIsPsqlInTheTenantsSchema(t *testing.T) {
	b := newBench(t, example)
	tn := b.created("acme")
	for _, o := range []tenant.ShellOptions{{}, {Prompt: "staging/acme", Danger: true}, {AsProvisioner: true}} {
		entersAs(t, b, tn, o)
	}
	_, _, _, _, err := b.Command(t.Context(), b.tenant("missing"), tenant.ShellOptions{})
	refused(t, err, tenant.ErrMissing)
	suspended := tn
	suspended.State = tenant.Suspended
	_, _, _, _, err = b.Command(t.Context(), suspended, tenant.ShellOptions{})
	refused(t, err, tenant.ErrInvalid, "suspended", "--as-provisioner")

	t.Setenv("PATH", filepath.Join(t.TempDir(), "empty"))
	_, _, _, cleanup, err := b.Command(t.Context(), tn, tenant.ShellOptions{})
	refused(t, err, tenant.ErrInvalid, "psql", "install")
	cleanup()
}

// entersAs starts psql, and looks whose rights it has and what its prompt is, and that nothing of it is left.
func entersAs(t *testing.T, b bench, tn tenant.Tenant, o tenant.ShellOptions) {
	t.Helper()
	program, args, env, cleanup, err := b.Command(t.Context(), tn, o)
	must(t, err)
	if strings.Contains(strings.Join(args, " "), "secret") {
		t.Errorf("a secret is in the arguments %q", args)
	}
	c := exec.CommandContext(t.Context(), program, append(args, "-At")...)
	c.Env = append(os.Environ(), env...)
	c.Stdin = strings.NewReader("SELECT current_schema(), current_user, count(*) FROM customers;\n\\echo :PROMPT1\n")
	out, err := c.CombinedOutput()
	role, prompt := tn.Role, "%/%R%x%# "
	if o.AsProvisioner {
		role = b.prefix + "provisioner"
	}
	if o.Prompt != "" {
		prompt = "%[%033[31m%]staging/acme%[%033[0m%]%R%x%# "
	}
	if want := tn.Schema + "|" + role + "|0\n" + prompt + "\n"; err != nil || string(out) != want {
		t.Errorf("%+v: psql gives %q, %v, want %q", o, out, err, want)
	}
	cleanup()
	for _, e := range env {
		if rc, is := strings.CutPrefix(e, "PSQLRC="); is {
			if _, err := os.Stat(rc); !os.IsNotExist(err) {
				t.Errorf("%s is still there", rc)
			}
		}
	}
	var member bool
	must(t, b.pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_auth_members m WHERE m.member = current_user::regrole AND m.roleid = $1::regrole AND NOT m.admin_option)", tn.Role).Scan(&member))
	if member {
		t.Errorf("%+v: the provisioning role is still a member of %s", o, tn.Role)
	}
}
