// Command backup measures tenantctl backup, restore and clone against floors (bare COPY through zstd, psql with the
// archive's own files) and against pg_dump and pg_restore, all in one run on a throwaway server with fsync on, and prints
// ratios: machines are noisy, absolute times prove nothing. Everything that is measured is a process of its own.
//
//	make bench-backup OTHERS=3000
//	bin/devstack run -- go run ./bench/backup -only backup,restore -others 30 -rounds 5
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jedib0t/go-pretty/v6/table"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := run
	if len(os.Args) > 1 && os.Args[1] == copyMode {
		do = func(ctx context.Context) error { return copyOut(ctx, os.Args[2:]) }
	}
	if err := do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

type bench struct {
	others, rows, tenants, dumps, rounds, parallel int

	program string // tenantctl, as built
	self    string // this program, which is the floor's too
	bin     string // folder of psql, pg_dump and pg_restore
	server  string // URL
	dir     string // migrations, archives and dumps
	example string // folder of the example migrations
	report  table.Writer
}

func run(ctx context.Context) error {
	b := &bench{server: os.Getenv("TENANTCTL_POSTGRES_URL"), report: table.NewWriter()}
	flag.IntVar(&b.others, "others", 300, "how many tenants are beside the one that is backed up by itself")
	flag.IntVar(&b.rows, "rows", 5000, "rows in each of its tables")
	flag.IntVar(&b.tenants, "tenants", 500, "how many small tenants are backed up by --all")
	flag.IntVar(&b.dumps, "dumps", 20, "run pg_dump for so many of them, and scale its time up")
	flag.IntVar(&b.rounds, "rounds", 3, "measure everything by turns so often, and take the medians")
	flag.IntVar(&b.parallel, "parallel", 8, "tenants that --all works on at once, and connections of its floor")
	program := flag.String("tenantctl", "bin/tenantctl", "the built program")
	only := flag.String("only", "", "only these works, of backup, restore, clone and all, separated by commas")
	flag.StringVar(&b.bin, "bin", "", "folder of psql, pg_dump and pg_restore (default: where Debian keeps the newest, else on PATH)")
	flag.Parse()
	if b.server == "" || os.Getenv("TENANTCTL_NOSQL_URL") == "" {
		return fmt.Errorf("the servers' variables are not set: run it by make bench-backup")
	}
	var err error
	if b.program, err = filepath.Abs(*program); err != nil {
		return err
	}
	if b.example, err = filepath.Abs("migrations/example"); err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if err := b.clients(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "tenantctl-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.report.SetOutputMirror(os.Stdout)
	b.report.SetTitle("One tenant of %d tables x %d rows beside %d others; %d small tenants, %d at once; medians of %d, fsync on, CHECKPOINT before each",
		tables, b.rows, b.others, b.tenants, b.parallel, b.rounds)
	b.report.AppendHeader(table.Row{"work", "who", "median", "all between", "of the floor", "the peer takes", "stored", "peak memory"})
	wanted := func(works ...string) bool {
		return *only == "" || slices.ContainsFunc(works, func(w string) bool { return slices.Contains(strings.Split(*only, ","), w) })
	}
	if wanted("backup", "restore", "clone") {
		if err := b.prepareOne(ctx); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"backup", b.one}, {"restore", b.restore}, {"clone", b.clone}, {"all", b.all}} {
		if !wanted(step.name) {
			continue
		}
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		b.report.AppendSeparator()
	}
	b.report.Render()
	return nil
}

// clients finds PostgreSQL's own programs, and past Debian's wrappers, which take a tenth of a second to begin.
func (b *bench) clients() error {
	if b.bin == "" {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump") // the pattern is a constant
		path, err := exec.LookPath("pg_dump")
		if len(found) > 0 {
			path, err = found[len(found)-1], nil
		}
		if err != nil {
			return err
		}
		b.bin = filepath.Dir(path)
	}
	for _, name := range []string{"psql", "pg_restore", "pg_dump"} {
		if _, err := exec.LookPath(filepath.Join(b.bin, name)); err != nil {
			return err
		}
	}
	return nil
}

// say tells on stderr what is being done: it takes minutes.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// database is the server's URL with another database.
func (b *bench) database(name string) string {
	u, err := url.Parse(b.server)
	if err != nil {
		return b.server
	}
	u.Path = "/" + name
	return u.String()
}

// exec runs statements that take no part in what is measured, each for itself.
func (b *bench) exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, b.database(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%.60s: %w", sql, err)
		}
	}
	return nil
}

// child runs a program in the folder of the benchmark, and tells what it said and how much memory it took at most.
func (b *bench) child(ctx context.Context, env []string, stdin, name string, args ...string) (said string, peak int64, err error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env, c.Stdin = b.dir, append(os.Environ(), env...), strings.NewReader(stdin)
	var out, errOut strings.Builder
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		return "", 0, fmt.Errorf("%s %.200s: %w: %.1000s", filepath.Base(name), strings.Join(args, " "), err, errOut.String())
	}
	peak = c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS != "darwin" {
		peak <<= 10 // elsewhere it is in KiB
	}
	return out.String(), peak, nil
}

// libpq are the variables that lead PostgreSQL's own programs to a database, and to themselves.
func (b *bench) libpq(database string) []string {
	cfg, err := pgx.ParseConfig(b.database(database))
	if err != nil {
		return nil // the server was reached by this URL before
	}
	return []string{
		"PGHOST=" + cfg.Host, fmt.Sprintf("PGPORT=%d", cfg.Port), "PGUSER=" + cfg.User, "PGPASSWORD=" + cfg.Password, "PGDATABASE=" + database,
		"PGSSLMODE=disable", "PATH=" + b.bin + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}
}

// shell runs a line that a person would write.
func (b *bench) shell(database, line string) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		_, _, err := b.child(ctx, b.libpq(database), "", "bash", "-o", "pipefail", "-c", line)
		return 0, err
	}
}

// place is where tenantctl works.
type place struct {
	database   string
	migrations string // their folder
	vault      string // name of a folder
	nosql      bool
}

// tenantctl runs the program there.
func (b *bench) tenantctl(ctx context.Context, p place, args ...string) (said string, peak int64, err error) {
	return b.child(ctx, []string{
		"TENANTCTL_POSTGRES_URL=" + b.database(p.database), "TENANTCTL_BACKUP_URL=" + filepath.Join(b.dir, p.vault), "TENANTCTL_NAMING_PREFIX=bench_",
		"TENANTCTL_MIGRATIONS_POSTGRES=" + filepath.Join(p.migrations, "postgres"), "TENANTCTL_MIGRATIONS_MONGODB=" + filepath.Join(p.migrations, "mongodb"),
		fmt.Sprintf("TENANTCTL_NOSQL_ENABLED=%t", p.nosql), "TENANTCTL_POSTGRES_ALLOW_SUPERUSER=true",
	}, "", b.program, args...)
}

// tenantctlDoes is tenantctl, to be measured.
func (b *bench) tenantctlDoes(p place, args ...string) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		_, peak, err := b.tenantctl(ctx, p, args...)
		return peak, err
	}
}

// write writes a file into the folder of the benchmark.
func (b *bench) write(name, text string) error {
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}
