// Command bench measures tenantctl's fleet work against a floor (bare pgx, the same statements) and a peer (the stock
// goose CLI in a loop), all in one run on one server, and prints ratios: machines are noisy, absolute times prove
// nothing. MongoDB is left out, so that like is compared with like.
//
//	make bench
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/tenantctl/tenantctl/schema"
	"github.com/tenantctl/tenantctl/tenant"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const (
	tables  = 20
	workers = 8
)

type bench struct {
	url     string
	dir     string // migrations
	goose   string // the stock CLI
	pool    *pgxpool.Pool
	service *tenant.Service
	names   []string
	report  table.Writer
}

func run(ctx context.Context) error {
	n := flag.Int("tenants", 200, "how many tenants")
	goose := flag.String("goose", "bin/goose", "the stock goose CLI")
	flag.Parse()
	b := &bench{url: os.Getenv("TENANTCTL_POSTGRES_URL"), goose: *goose, report: table.NewWriter()}
	if b.url == "" {
		return fmt.Errorf("TENANTCTL_POSTGRES_URL is not set: run it by make bench")
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "tenantctl-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	for i := range tables {
		sql := fmt.Sprintf("CREATE TABLE t%[1]d (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now());\nCREATE INDEX t%[1]d_name ON t%[1]d (name);\n", i)
		if err := b.migration(i+1, sql); err != nil {
			return err
		}
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	defer b.pool.Close()
	defer b.service.Close()
	for i := range *n {
		b.names = append(b.names, fmt.Sprintf("bench%05d", i))
	}
	b.report.SetOutputMirror(os.Stdout)
	b.report.SetTitle("%d tenants, %d tables and as many indexes each, %d workers", *n, tables, workers)
	b.report.AppendHeader(table.Row{"work", "who", "total", "per tenant", "against tenantctl"})
	for _, step := range []func(context.Context) error{b.provision, b.oneMigration, b.nothing} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	b.report.Render()
	return nil
}

func (b *bench) migration(version int, up string) error {
	text := "-- +goose Up\n" + up + "\n-- +goose Down\nSELECT 1;\n"
	return os.WriteFile(filepath.Join(b.dir, fmt.Sprintf("%05d_bench.sql", version)), []byte(text), 0o600)
}

func (b *bench) open(ctx context.Context) error {
	cfg := schema.Config{
		URL: b.url, Dir: b.dir, Roles: true, MaxConnections: workers + 2, SchemasPerConnection: 300,
		LockTimeout: 5 * time.Second, LockRetries: 5, ConnectTimeout: 10 * time.Second,
	}
	var err error
	if b.pool, err = schema.Open(ctx, cfg); err != nil {
		return err
	}
	c := tenant.NewCatalog(b.pool, "bench", 30*time.Second)
	if _, _, err := c.Init(ctx, false); err != nil {
		return err
	}
	// A new Resource for each step would read the files anew; so does each run of the program.
	b.service = tenant.NewService(c, []tenant.Resource{schema.New(b.pool, cfg)}, tenant.Options{Naming: tenant.Naming{Prefix: "b_"}})
	return nil
}

// row measures do, and compares it to base, tenantctl's time for the same work (0: this is it).
func (b *bench) row(work, who string, base time.Duration, do func() error) (time.Duration, error) {
	start := time.Now()
	if err := do(); err != nil {
		return 0, fmt.Errorf("%s, %s: %w", work, who, err)
	}
	took := time.Since(start)
	ratio := "1"
	if base > 0 {
		ratio = fmt.Sprintf("%.2f x", float64(took)/float64(base))
	}
	each := took / time.Duration(len(b.names))
	b.report.AppendRow(table.Row{work, who, took.Round(time.Millisecond), each.Round(10 * time.Microsecond), ratio})
	return took, nil
}

var options = tenant.RunOptions{Parallel: workers, MaxFailures: tenant.Budget{Count: 1}}

func (b *bench) provision(ctx context.Context) error {
	ours, err := b.row("create", "tenantctl create --file", 0, func() error {
		r, err := b.service.CreateMany(ctx, func(yield func(tenant.CreateRequest, error) bool) {
			for _, n := range b.names {
				if !yield(tenant.CreateRequest{Name: n}, nil) {
					return
				}
			}
		}, false, options, func(tenant.Outcome) {})
		if err != nil {
			return err
		}
		return r.Err()
	})
	if err != nil {
		return err
	}
	_, err = b.row("create", "CREATE SCHEMA and goose CLI, in a shell loop", ours, func() error {
		return b.each(1, func(name string) error {
			if _, err := b.pool.Exec(ctx, "CREATE SCHEMA g_"+name); err != nil {
				return err
			}
			return b.gooseUp("g_" + name)
		})
	})
	return err
}

const addColumn = "ALTER TABLE t0 ADD COLUMN note text;\nCREATE INDEX t0_note ON t0 (note);\n"

func (b *bench) oneMigration(ctx context.Context) error {
	if err := b.migration(tables+1, addColumn); err != nil {
		return err
	}
	b.reopen()
	ours, err := b.row("one new migration", "tenantctl migrate", 0, func() error { return b.migrate(ctx) })
	if err != nil {
		return err
	}
	if _, err := b.row("one new migration", "goose CLI in a shell loop", ours, func() error {
		return b.each(1, func(name string) error { return b.gooseUp("g_" + name) })
	}); err != nil {
		return err
	}
	// The floor does the same to the peer's schemas once more: the same statements, as few round trips as there can be.
	_, err = b.row("one new migration", "floor: bare pgx, 1 round trip", ours, func() error {
		return b.each(workers, func(name string) error {
			_, err := b.pool.Exec(ctx, fmt.Sprintf(`BEGIN; SET LOCAL search_path = g_%s; ALTER TABLE t1 ADD COLUMN note text; CREATE INDEX t1_note ON t1 (note);
				INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true); COMMIT`, name))
			return err
		})
	})
	return err
}

func (b *bench) nothing(ctx context.Context) error {
	ours, err := b.row("nothing to do", "tenantctl migrate", 0, func() error { return b.migrate(ctx) })
	if err != nil {
		return err
	}
	_, err = b.row("nothing to do", "goose CLI in a shell loop", ours, func() error {
		return b.each(1, func(name string) error { return b.gooseUp("g_" + name) })
	})
	return err
}

// reopen makes the service read the migration files anew, as a new process would.
func (b *bench) reopen() {
	b.service.Close()
	cfg := schema.Config{Dir: b.dir, Roles: true, LockTimeout: 5 * time.Second, LockRetries: 5}
	b.service = tenant.NewService(tenant.NewCatalog(b.pool, "bench", 30*time.Second), []tenant.Resource{schema.New(b.pool, cfg)}, tenant.Options{Naming: tenant.Naming{Prefix: "b_"}})
}

func (b *bench) migrate(ctx context.Context) error {
	r, err := b.service.Migrate(ctx, tenant.MigrateRequest{To: tenant.Newest}, options)
	if err != nil {
		return err
	}
	return r.Err()
}

// each does something for every tenant, so many at once.
func (b *bench) each(parallel int, do func(name string) error) error {
	names := make(chan string)
	errs := make(chan error, parallel)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for name := range names {
				if err := do(name); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	var failed error
	for _, n := range b.names {
		select {
		case names <- n:
		case failed = <-errs:
		}
		if failed != nil {
			break
		}
	}
	close(names)
	wg.Wait()
	return failed
}

func (b *bench) gooseUp(schema string) error {
	cfg, err := pgx.ParseConfig(b.url)
	if err != nil {
		return err
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: fmt.Sprintf("%s:%d", cfg.Host, cfg.Port), Path: cfg.Database,
		RawQuery: "sslmode=disable&search_path=" + schema,
	}
	c := exec.Command(b.goose, "-dir", b.dir, "up")
	c.Env = append(os.Environ(), "GOOSE_DRIVER=postgres", "GOOSE_DBSTRING="+u.String())
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
