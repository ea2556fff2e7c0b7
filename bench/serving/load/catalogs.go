package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"
)

const servedDomain = "app.test"

func servedHost(i int) string { return "t" + strconv.Itoa(i) + "." + servedDomain }

// catalogOf makes a catalog of n tenants that are names alone, and starts a resolver for it. hosts is nginx's map.
func (l *load) catalogOf(ctx context.Context, n int) (address, hosts string, err error) {
	name := "load_" + strconv.Itoa(n)
	u, err := url.Parse(os.Getenv("TENANTCTL_POSTGRES_URL"))
	if err != nil {
		return "", "", fmt.Errorf("TENANTCTL_POSTGRES_URL cannot be read")
	}
	admin, err := pgx.Connect(ctx, u.String())
	if err != nil {
		return "", "", err
	}
	defer func() { _ = admin.Close(ctx) }() // nothing is in flight
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", "", err
	}
	u.Path = "/" + name
	config := filepath.Join(l.dir, name+".yaml")
	text := fmt.Sprintf("postgres:\n  url: %q\n  allow_superuser: true\nnosql:\n  enabled: false\n"+
		"resolve:\n  base_domain: %s\n  assertion_key_file: %s\n", u.String(),
		servedDomain, filepath.Join(l.dir, "assertion.keys"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", "", err
	}
	with := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, l.program, append([]string{"--config", config}, args...)...)
		cmd.Env = without("TENANTCTL_")
		return cmd
	}
	if out, err := with("init").CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("init: %w: %s", err, out)
	}
	if err := fill(ctx, u.String(), n); err != nil {
		return "", "", err
	}
	var written bytes.Buffer
	export := with("resolver", "export", "--format", "nginx-map")
	export.Stdout = &written
	if err := export.Run(); err != nil {
		return "", "", fmt.Errorf("resolver export: %w", err)
	}
	if address, err = freeAddress(); err != nil {
		return "", "", err
	}
	return address, written.String(), l.start("resolver-"+name, "http://"+address+"/readyz", "env", append(unset(),
		l.program, "--config", config, "resolver", "--listen", address)...)
}

func fill(ctx context.Context, url string, n int) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is in flight
	_, err = conn.Exec(ctx, fmt.Sprintf(`INSERT INTO tenantctl.tenants
			(id, name, state, schema_name, database_name, role_name)
		SELECT gen_random_uuid(), 't' || i, 'active', 'tenant_t' || i, 'tenant_t' || i, 'tenant_t' || i
		FROM generate_series(0, %d) i`, n-1))
	return err
}

// without is the environment without what begins so.
func without(prefix string) []string {
	var kept []string
	for _, pair := range os.Environ() {
		if len(pair) < len(prefix) || pair[:len(prefix)] != prefix {
			kept = append(kept, pair)
		}
	}
	return kept
}

// unset is what env needs for the same.
func unset() []string {
	var args []string
	for _, pair := range os.Environ() {
		for i, c := range pair {
			if c == '=' {
				if i > 10 && pair[:10] == "TENANTCTL_" {
					args = append(args, "-u", pair[:i])
				}
				break
			}
		}
	}
	return args
}
