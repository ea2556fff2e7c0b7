package schema

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// Engine is another tool that migrates schemas in goose's place.
type Engine struct {
	Command      string        // for the shell, once for each tenant
	VersionQuery string        // gives a schema's version, run in it
	Timeout      time.Duration // of one tenant's command; 0 for no limit
}

// Delegates tells whether another tool migrates the schemas.
func (r *Resource) Delegates() bool { return r.cfg.Engine != nil }

// delegate is Up by the other tool, with the rights of the schema's owner.
func (r *Resource) delegate(ctx context.Context, t tenant.Tenant) (moved tenant.Moved, err error) {
	err = r.asOwner(ctx, t, func(r *Resource) (err error) {
		moved, err = r.delegateHere(ctx, t)
		return err
	})
	return moved, err
}

// delegateHere runs the command under the tenant's lock, which a guard holds, so that a pooler's transaction mode will do.
// The versions before and after tell whether anything was changed.
func (r *Resource) delegateHere(ctx context.Context, t tenant.Tenant) (moved tenant.Moved, err error) {
	g, err := r.guardCommand(ctx, t)
	if err != nil {
		return moved, failure("begin in schema "+t.Schema, err)
	}
	defer g.release(ctx)
	if moved.From, err = r.versionBeside(ctx, g, t); err != nil {
		return moved, err
	}
	moved.To = moved.From
	if moved.Output, err = r.runCommand(ctx, t); err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
		defer cancel()
		return tenant.Moved{}, errors.Join(err, failure("keep the tag of schema "+t.Schema, g.end(clean, r.keepTag(ctx, t))))
	}
	if moved.To, err = r.versionBeside(ctx, g, t); err != nil {
		return moved, err
	}
	if err := g.end(ctx, r.keepTag(ctx, t)); err != nil {
		return moved, failure("end in schema "+t.Schema, err)
	}
	if moved.To != moved.From {
		moved.Ran = []int64{moved.To}
	}
	if err := tenant.LeaseFrom(ctx).Record(ctx, t.ID, tenant.KindPostgres, moved.To, 0); err != nil {
		return moved, failure("record the version", err)
	}
	return moved, tenant.Checkpoint(ctx, "postgres/command-run")
}

// guardCommand takes the tenant's lock for a command.
func (r *Resource) guardCommand(ctx context.Context, t tenant.Tenant) (g *guard, err error) {
	keeper := r
	if r.keeper != nil {
		keeper = r.keeper
	}
	err = r.retry(ctx, func(ctx context.Context) (err error) {
		if err := tenant.LeaseFrom(ctx).Check(ctx); err != nil { // a command may take long: a take-over does not wait for it
			return err
		}
		p := new(place)
		opening := append(local(keeper.settings(t)), tryLock(ctx, t, p), lookAtSchema(t, p))
		if g, err = keeper.guard(ctx, opening...); err != nil {
			return err
		}
		if err = p.ours(t); !p.free {
			err = busy()
		}
		if err != nil {
			g.release(ctx)
		}
		return err
	})
	return g, err
}

// versionBeside reads the version while a guard stands: in its transaction, or by the worker whom it guards, since a query of
// what a tenant has made may run the tenant's code.
func (r *Resource) versionBeside(ctx context.Context, g *guard, t tenant.Tenant) (int64, error) {
	if r.keeper == nil {
		return r.versionHere(ctx, g.pg())
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	v, err := r.delegatedIn(ctx, conn, t)
	return v.Version, errors.Join(err, v.Err)
}

// versionHere asks for the version of the schema that is in force, in a transaction. A table that is not there yet is
// version 0: the other tool makes it with its first migration.
func (r *Resource) versionHere(ctx context.Context, pg *pgconn.PgConn) (version int64, err error) {
	var said string
	ask := cmd("%s", r.cfg.Engine.VersionQuery)
	ask.row = func(row [][]byte) { said = string(row[0]) }
	err = send(ctx, pg, []command{cmd("SAVEPOINT version"), ask})
	if back := send(ctx, pg, []command{cmd("ROLLBACK TO SAVEPOINT version")}); back != nil && err == nil {
		err = back
	}
	switch {
	case code(err) == undefinedTable:
		return 0, nil
	case err != nil:
		return 0, failure("ask for the version by migrations.version_query", err)
	}
	digits := said[:sqltext.PrefixLen(said, sqltext.IsDigit)]
	if version, err = strconv.ParseInt(digits, 10, 64); err != nil && said != "" {
		return 0, invalid("write a query that gives a whole number, or a text that begins with one, such as 0002_orders",
			"migrations.version_query gave %q, which does not begin with a number", said)
	}
	return version, nil
}

// delegated reads the versions of many schemas, each by a query of its own, with the rights of their owners.
func (r *Resource) delegated(ctx context.Context, ts []tenant.Tenant) ([]tenant.Version, error) {
	out := make([]tenant.Version, len(ts))
	owners, err := r.otherOwners(ctx, ts)
	if err != nil {
		return nil, err
	}
	of := map[string][]int{}
	for i, t := range ts {
		of[owners[t.Schema]] = append(of[owners[t.Schema]], i)
	}
	for owner, some := range of {
		read := func(r *Resource) error { return r.delegatedOf(ctx, ts, some, out) }
		if owner == "" {
			err = read(r)
		} else if err = r.asOwner(ctx, ts[some[0]], read); err != nil && !errors.Is(err, tenant.ErrUnreachable) && ctx.Err() == nil {
			for _, i := range some {
				out[i].Err = cmp.Or(out[i].Err, err)
			}
			err = nil
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (r *Resource) delegatedOf(ctx context.Context, ts []tenant.Tenant, some []int, out []tenant.Version) error {
	g, ctx := tenant.NewGroup(ctx)
	g.SetLimit(readers)
	for _, i := range some {
		g.Go(func() error {
			conn, err := r.acquire(ctx)
			if err != nil {
				return err
			}
			defer conn.Release()
			out[i], err = r.delegatedIn(ctx, conn, ts[i])
			return err
		})
	}
	return g.Wait()
}

// delegatedIn reads one version. What is wrong with the tenant is in the version, what is wrong with the connection is the error.
func (r *Resource) delegatedIn(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant) (v tenant.Version, err error) {
	defer rollback(ctx, conn)
	p := new(place)
	if err := send(ctx, conn.Conn().PgConn(), append(r.begin(t), lookAtSchema(t, p))); err != nil {
		return v, failure("look at schema "+t.Schema, err)
	}
	v.Presence = p.schema
	if v.Err = p.ours(t); v.Err == nil {
		v.Version, v.Err = r.versionHere(ctx, conn.Conn().PgConn())
	}
	if errors.Is(v.Err, tenant.ErrUnreachable) {
		return v, v.Err
	}
	return v, nil
}

// runCommand runs the command for one tenant and gives what it said.
func (r *Resource) runCommand(ctx context.Context, t tenant.Tenant) (said string, err error) {
	limited := ctx
	if r.cfg.Engine.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, r.cfg.Engine.Timeout)
		defer cancel()
	}
	shell, flag := "sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/C"
	}
	c := exec.CommandContext(limited, shell, flag, r.cfg.Engine.Command)
	var out lastOf
	c.Stdout, c.Stderr = &out, &out
	env, err := r.engineEnv(t)
	if err != nil {
		return "", err
	}
	c.Env = append(os.Environ(), env...)
	c.WaitDelay = cleanUp
	over, err := guarded(c)
	if err == nil {
		err = c.Run()
		over(limited.Err() != nil)
	}
	said = r.masked(out.String())
	var exit *exec.ExitError
	e := &tenant.Error{Kind: tenant.ErrMigration, Store: tenant.KindPostgres, Code: "command", Output: said, Hint: "run it for one tenant by hand"}
	if l := tenant.LeaseFrom(ctx); l != nil {
		e.Hint = "tenantctl ops show " + tenant.ShortID(l.Operation) + " tells all that it said"
	}
	switch {
	case err == nil:
		return said, nil
	case limited.Err() != nil && ctx.Err() == nil:
		e.Code, e.Msg = "command_timeout", fmt.Sprintf("migrations.command was ended after %s (migrations.timeout)", r.cfg.Engine.Timeout)
	case errors.As(err, &exit):
		e.Msg = fmt.Sprintf("migrations.command ended with %s", exit.ProcessState)
	default:
		e.Msg, e.Hint = fmt.Sprintf("run migrations.command: %v", err), "it is run by "+shell
	}
	if last := lastLine(said); last != "" {
		e.Msg += ": " + last
	}
	return "", e
}

// engineEnv is what the command finds in its environment; it holds the password. Programs that go by libpq's variables
// are in the tenant's schema without more.
func (r *Resource) engineEnv(t tenant.Tenant) ([]string, error) {
	env, err := r.clientEnv()
	if err != nil {
		return nil, err
	}
	dsn, err := r.dsn(t)
	return append(env,
		"PGOPTIONS="+strings.TrimSpace(os.Getenv("PGOPTIONS")+" -c search_path="+r.asOption(t.Schema)),
		"TENANTCTL_TENANT="+string(t.Name), "TENANTCTL_TENANT_ID="+t.ID.String(), "TENANTCTL_SCHEMA="+t.Schema,
		"TENANTCTL_DATABASE="+t.Database, "TENANTCTL_ROLE="+t.Role, "TENANTCTL_DSN="+dsn), err
}

// dsn is a URL by which the provisioning role connects, past a pooler, and finds itself in the tenant's schema.
func (r *Resource) dsn(t tenant.Tenant) (string, error) {
	c, address, err := r.past()
	if err != nil {
		return "", err
	}
	query := url.Values{"options": {"-csearch_path=" + r.asOption(t.Schema)}}
	for k, v := range tlsSettings(address) {
		query.Set(k, v)
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(c.User, c.Password), Host: net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), Path: "/" + c.Database}
	if strings.HasPrefix(c.Host, "/") { // a folder of sockets
		u.Host = ""
		query.Set("host", c.Host)
		query.Set("port", strconv.Itoa(int(c.Port)))
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String(), nil
}

// masked takes the passwords out of what a command said.
func (r *Resource) masked(said string) string {
	var passwords []string
	for of := r; of != nil; of = of.keeper {
		passwords = append(passwords, of.pool.Config().ConnConfig.Password)
		if past, _, err := of.past(); err == nil {
			passwords = append(passwords, past.Password)
		}
	}
	for _, p := range passwords {
		for _, spelling := range []string{p, url.QueryEscape(p), url.PathEscape(p)} {
			said = maskWord(said, spelling)
		}
	}
	return said
}

// longSecret is from how many characters on a password is masked within words too: a shorter one is a part of many.
const longSecret = 8

func maskWord(said, secret string) string {
	switch {
	case secret == "":
		return said
	case len(secret) >= longSecret:
		return strings.ReplaceAll(said, secret, "xxxxx")
	}
	within := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	var b strings.Builder
	at := 0
	for {
		i := strings.Index(said[at:], secret)
		if i < 0 {
			b.WriteString(said[at:])
			return b.String()
		}
		begin, end := at+i, at+i+len(secret)
		before, _ := utf8.DecodeLastRuneInString(said[:begin])
		after, _ := utf8.DecodeRuneInString(said[end:])
		b.WriteString(said[at:begin])
		if within(before) || within(after) { // at an end there is a character that is in no word
			b.WriteString(secret)
		} else {
			b.WriteString("xxxxx")
		}
		at = end
	}
}

// kept is how many bytes at the end of what a command says are kept.
const kept = 64 << 10

// lastOf is a writer that keeps the end.
type lastOf struct {
	sync.Mutex
	bytes.Buffer
	cut bool
}

func (l *lastOf) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	n, err := l.Buffer.Write(p)
	if over := l.Len() - kept; over > kept {
		l.Next(over)
		l.cut = true
	}
	return n, err
}

func (l *lastOf) String() string {
	l.Lock()
	defer l.Unlock()
	b := l.Bytes()
	if over := len(b) - kept; over > 0 {
		b, l.cut = b[over:], true
	}
	said := strings.ToValidUTF8(strings.ReplaceAll(string(b), "\x00", ""), "\uFFFD")
	if l.cut {
		said = "(the beginning is left out)\n" + said
	}
	return said
}
