package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

// client is a pair of PostgreSQL's own programs of one version.
type client struct {
	dump, restore string // paths
	version       string // "15.4"
	release
}

// clientFolders are where PostgreSQL's programs lie when they are not on the PATH.
var clientFolders = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@*/bin", "/opt/homebrew/opt/libpq/bin"}

var clientVersion = regexp.MustCompile(`\) (\d\S*)`)

// client finds the pg_dump of the oldest major version that is not older than the server's, and its newest minor one.
func (r *Resource) client(ctx context.Context, server int) (client, error) {
	var found, best client
	for _, dir := range r.programFolders() {
		c := client{dump: filepath.Join(dir, "pg_dump"), restore: filepath.Join(dir, "pg_restore")}
		if _, err := exec.LookPath(c.restore); err != nil {
			continue
		}
		said, err := exec.CommandContext(ctx, c.dump, "--version").Output()
		m := clientVersion.FindSubmatch(said)
		if err != nil || m == nil {
			continue
		}
		c.version = string(m[1])
		c.release = readVersion(c.version)
		if c.major >= server && (best.dump == "" || c.major < best.major || c.major == best.major && best.olderThan(c.release)) {
			best = c
		}
		if c.major > found.major {
			found = c
		}
	}
	install := fmt.Sprintf("install PostgreSQL's client, version %d or newer: apt-get install postgresql-client-%d, or brew install libpq", server, server)
	switch {
	case ctx.Err() != nil:
		return client{}, failure("look for pg_dump", ctx.Err())
	case best.dump != "":
		return best, nil
	case found.dump != "":
		return client{}, invalid(install, "pg_dump %s is older than the server, which is PostgreSQL %d", found.version, server)
	}
	return client{}, invalid(install, "pg_dump and pg_restore are not to be found%s", map[bool]string{true: " in " + r.cfg.Bin}[r.cfg.Bin != ""])
}

func (r *Resource) programFolders() []string {
	if r.cfg.Bin != "" {
		return []string{r.cfg.Bin}
	}
	folders := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range clientFolders {
		more, _ := filepath.Glob(pattern)
		folders = append(folders, more...)
	}
	return slices.DeleteFunc(folders, func(dir string) bool { return !filepath.IsAbs(dir) })
}

// misleading are variables of libpq that would lead it elsewhere than we are connected to.
var misleading = []string{"PGSERVICE=", "PGSERVICEFILE=", "PGHOSTADDR=", "PGOPTIONS=", "PGDATABASE=", "PGTARGETSESSIONATTRS="}

// run runs one of PostgreSQL's programs as the provisioning role and gives what it writes. env comes on top.
func (r *Resource) run(ctx context.Context, env []string, program string, args ...string) (string, error) {
	server, err := r.clientEnv()
	if err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, program, args...)
	c.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return slices.ContainsFunc(misleading, func(m string) bool { return strings.HasPrefix(v, m) })
	}), append(append(server, "LC_ALL=C"), env...)...)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err = c.Run(); err == nil {
		return out.String(), nil
	}
	if ctx.Err() != nil {
		return "", failure("run "+filepath.Base(program), ctx.Err())
	}
	e := &tenant.Error{Store: tenant.KindPostgres, Msg: filepath.Base(program) + " failed: " + complaint(said.String()), Hint: hintDoctor, Err: err}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		e.Msg = fmt.Sprintf("start %s: %v", program, migrationfile.Reason(err))
	}
	if strings.Contains(e.Msg, "permission denied") {
		e.Kind, e.Hint = tenant.ErrRights, "the provisioning role must be able to read all of the schema: GRANT it the role that owns what it may not read"
	}
	return "", e
}

// complaint is the first error that a program tells of.
func complaint(said string) string {
	for line := range strings.Lines(said) {
		if _, what, found := strings.Cut(line, "error: "); found {
			return strings.TrimSpace(what)
		}
	}
	return strings.TrimSpace(said)
}
