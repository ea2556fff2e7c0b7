package nosql

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
)

// shellURL is the variable that carries the connection string: arguments can be read by every process.
const shellURL = "TENANTCTL_SHELL_URL"

// connectScript hides the connection string from what is typed.
const connectScript = "db = connect(process.env." + shellURL + ");\ndelete process.env." + shellURL + ";\n"

// Command starts mongosh in the tenant's database, as the user of nosql.url. env is what comes on top of the
// process's own environment.
func (r *Resource) Command(ctx context.Context, t tenant.Tenant, o tenant.ShellOptions) (program string, args, env []string, cleanup func(), err error) {
	nothing := func() {}
	program, err = exec.LookPath("mongosh")
	if err != nil {
		return "", nil, nil, nothing, refused(tenant.ErrInvalid, "install it: https://www.mongodb.com/docs/mongodb-shell/install/", "mongosh is not on PATH")
	}
	s, err := r.look(ctx, t)
	if err != nil {
		return "", nil, nil, nothing, err
	}
	if err := s.ours(t); err != nil {
		return "", nil, nil, nothing, err
	}
	// CreateTemp gives the file to this user alone.
	script, err := os.CreateTemp("", "tenantctl-*.js")
	if err != nil {
		return "", nil, nil, nothing, scriptFailure(err)
	}
	cleanup = func() { _ = os.Remove(script.Name()) }
	text := connectScript
	if o.Prompt != "" {
		text += "prompt = " + strconv.Quote(o.Prompt+"> ") + ";\n"
	}
	_, err = script.WriteString(text)
	if err = errors.Join(err, script.Close()); err != nil {
		cleanup()
		return "", nil, nil, nothing, scriptFailure(err)
	}
	args = []string{"--nodb", "--quiet", "--shell", script.Name()}
	return program, args, []string{shellURL + "=" + withDatabase(r.cfg.URL, t.Database)}, cleanup, nil
}

func scriptFailure(err error) error {
	return refused(tenant.ErrInvalid, "check the folder for temporary files", "write a script for mongosh: %s", innermost(err))
}

// withDatabase is the connection string for another database. The one it names may be where its user is known, so that
// becomes authSource.
func withDatabase(raw, database string) string {
	scheme, rest, _ := strings.Cut(raw, "://")
	rest, query, _ := strings.Cut(rest, "?")
	authority, _, _ := strings.Cut(rest, "/")
	opts := options.Client().ApplyURI(raw)
	if opts.Auth != nil && opts.Auth.AuthSource != "" && !strings.Contains(strings.ToLower(query), "authsource=") {
		if query != "" {
			query += "&"
		}
		query += "authSource=" + url.QueryEscape(opts.Auth.AuthSource)
	}
	if query != "" {
		query = "?" + query
	}
	return scheme + "://" + authority + "/" + database + query
}
