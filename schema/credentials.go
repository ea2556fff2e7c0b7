package schema

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/tenantctl/tenantctl/tenant"
)

// Login gives the connection details without a password.
func (r *Resource) Login(t tenant.Tenant) tenant.Login {
	c := r.pool.Config().ConnConfig
	l := tenant.Login{Store: tenant.KindPostgres, Host: c.Host, Port: int(c.Port), Database: c.Database, Schema: t.Schema}
	options := url.Values{}
	if mode := tlsSettings(r.cfg.URL)["sslmode"]; mode != "" {
		options.Set("sslmode", mode)
	}
	if r.hasRole(t) {
		l.User = t.Role
	} else {
		l.Note = "the tenant has no role of its own: use the application's, with this search_path"
		if r.cfg.Roles {
			l.Note += "; " + givesRole(t) + " gives it one"
		}
		options.Set("options", "-csearch_path="+r.asOption(t.Schema))
	}
	l.Options = strings.ReplaceAll(options.Encode(), "+", "%20")
	return l
}

// givesRole is the command that gives an adopted tenant a role.
func givesRole(t tenant.Tenant) string {
	return fmt.Sprintf("tenantctl adopt %s --schema %s --roles", t.Name, t.Schema)
}

// asOption is a schema's name as the value of an option on a command line of the server: in quotes where it needs them.
func (r *Resource) asOption(schema string) string {
	path := schema
	if !plainName.MatchString(schema) {
		path = strings.NewReplacer(`\`, `\\`, " ", `\ `).Replace(quote(schema))
	}
	if r.cfg.ExtensionsSchema != "" {
		path += "," + r.cfg.ExtensionsSchema // whose name needs no quotes
	}
	return path
}

var tlsSetting = regexp.MustCompile(`(?:^|[?&\s])(ssl[a-z]+)\s*=\s*(?:'([^']*)'|([^\s&']*))`)

// tlsSettings are the settings of a URL, or of key=value pairs, that are about encryption, without passwords.
func tlsSettings(address string) map[string]string {
	settings := map[string]string{}
	for _, m := range tlsSetting.FindAllStringSubmatch(address, -1) {
		value := m[2] + m[3]
		if decoded, err := url.QueryUnescape(value); err == nil {
			value = decoded
		}
		if m[1] != "sslpassword" {
			settings[m[1]] = value
		}
	}
	return settings
}

// errUnsealed rolls the password of a role back; it is never seen.
var errUnsealed = errors.New("not sealed")

const (
	saltSize   = 16
	iterations = 4096 // as PostgreSQL does
)

// SetPassword gives the role a password. The server, and so its log, gets only what verifies it. It is committed once seal
// has succeeded.
func (r *Resource) SetPassword(ctx context.Context, t tenant.Tenant, password string, seal func(context.Context) error) error {
	if !r.cfg.Roles {
		return &tenant.Error{
			Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: "tenants have no role of their own here",
			Hint: "set postgres.roles to per-tenant to give them one",
		}
	}
	if !r.hasRole(t) {
		return &tenant.Error{
			Kind: tenant.ErrUnsupported, Store: tenant.KindPostgres, Msg: "the tenant was adopted without a role of its own",
			Hint: "use the application's role, or give it one of its own: " + givesRole(t),
		}
	}
	secret, err := verifier(password)
	if err != nil {
		return err
	}
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var sealed bool // also where the transaction is tried again
	var unsealed error
	err = r.transact(ctx, conn, t, nil, func(p *place) ([]command, error) {
		if p.role != tenant.Ours {
			return nil, noRole(t, p)
		}
		set := []command{cmd("ALTER ROLE %s PASSWORD %s", quote(t.Role), text(secret))}
		if sealed || seal == nil {
			return set, nil
		}
		if err := send(ctx, conn.Conn().PgConn(), set); err != nil {
			return nil, err
		}
		if unsealed = seal(ctx); unsealed != nil {
			return nil, errUnsealed
		}
		sealed = true
		return nil, nil
	})
	if unsealed != nil {
		return unsealed
	}
	return refusal("set the password of role "+t.Role, conn, t, err)
}

// verifier is a password as PostgreSQL keeps it for SCRAM-SHA-256.
func verifier(password string) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		return "", invalid("use printable characters", "the password cannot be used for SCRAM-SHA-256")
	}
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return "", invalid("use printable characters", "the password cannot be used for SCRAM-SHA-256")
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(keys.StoredKey), b64(keys.ServerKey)), nil
}

// clientEnv is how PostgreSQL's own programs connect as the provisioning role, past a pooler; it holds the password.
func (r *Resource) clientEnv() ([]string, error) {
	c, address, err := r.past()
	if err != nil {
		return nil, err
	}
	env := []string{
		"PGHOST=" + c.Host, "PGPORT=" + strconv.Itoa(int(c.Port)), "PGDATABASE=" + c.Database,
		"PGUSER=" + c.User, "PGPASSWORD=" + c.Password, "PGAPPNAME=tenantctl",
	}
	for key, value := range tlsSettings(address) {
		env = append(env, "PG"+strings.ToUpper(key)+"="+value)
	}
	return env, nil
}

// reach refuses a tenant whose schema is not there for it.
func (r *Resource) reach(ctx context.Context, t tenant.Tenant) error {
	versions, err := r.Versions(ctx, []tenant.Tenant{t})
	if err != nil {
		return err
	}
	if versions[0].Presence == tenant.Ours {
		return nil
	}
	return versions[0].Err
}
