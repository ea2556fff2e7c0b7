// Command import measures tenantctl import against floors (bare COPY, bare InsertMany) and against what a team would
// write, all in one run on throwaway servers with fsync on, and prints ratios: machines are noisy, absolute times prove
// nothing.
//
//	make bench-import ROWS=5000000 TENANTS=500
//	bin/devstack run -- go run ./bench/import -tries 3 -loads BEFORE,AFTER  # only the load, of two builds
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
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jedib0t/go-pretty/v6/table"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

type bench struct {
	rows, tenants, documents, tries int
	program                         string // tenantctl, as built
	server                          string // URL of the tenants' server
	other                           string // URL of a second one
	nosql                           string
	index                           string // column of the second index
	dir                             string // migrations, mappings and files
	made                            int    // databases and mappings, for their names
	said                            string // by the program, at last
	report                          table.Writer
}

// measured is what doing something took.
type measured struct {
	took time.Duration
	load time.Duration // of an import: until the rows were there, before ANALYZE
	peak int64         // bytes of memory of the child process; 0 where there is none
}

func run(ctx context.Context) error {
	b := &bench{server: os.Getenv("TENANTCTL_POSTGRES_URL"), nosql: os.Getenv("TENANTCTL_NOSQL_URL"), report: table.NewWriter()}
	flag.IntVar(&b.rows, "rows", 1_000_000, "rows of the shared table")
	flag.IntVar(&b.tenants, "tenants", 500, "how many tenants")
	flag.IntVar(&b.documents, "documents", 100_000, "lines of the NDJSON file")
	flag.IntVar(&b.tries, "tries", 2, "measure floor and import by turns so often, and take the best of each")
	flag.StringVar(&b.index, "index", "created_at", "column of the second index: created_at grows from row to row, so that the floor's index grows at its end alone; payload does not")
	program := flag.String("tenantctl", "bin/tenantctl", "the built program")
	builds := flag.String("loads", "", "measure only the load and its floor, for these builds of the program, separated by commas")
	devstack := flag.String("devstack", "bin/devstack", "what starts the second server")
	flag.Parse()
	if b.server == "" || b.nosql == "" {
		return fmt.Errorf("the servers' variables are not set: run it by make bench-import")
	}
	var err error
	if b.program, err = filepath.Abs(*program); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "tenantctl-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	stop, err := b.startOther(ctx, *devstack)
	if err != nil {
		return err
	}
	defer stop()
	b.report.SetOutputMirror(os.Stdout)
	b.report.SetTitle("%d rows into %d tenants, indexes on id and %s; best of %d, fsync on, CHECKPOINT before each", b.rows, b.tenants, b.index, b.tries)
	if *builds != "" {
		return b.loads(ctx, strings.Split(*builds, ","))
	}
	b.report.AppendHeader(table.Row{"work", "who", "total", "tenantctl import run", "peak memory"})
	for _, step := range []func(context.Context) error{b.prepare, b.shared, b.acrossServers, b.throughKeys, b.ndjson} {
		if err := step(ctx); err != nil {
			return err
		}
		b.report.AppendSeparator()
	}
	b.report.Render()
	return nil
}

// startOther starts a second server; stop ends it.
func (b *bench) startOther(ctx context.Context, devstack string) (stop func(), err error) {
	env := filepath.Join(b.dir, "other.env")
	c := exec.Command(devstack, "up", "--env-file", env)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start the second server: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	stop = func() {
		if c.Process.Signal(syscall.SIGTERM) == nil {
			<-ended
		}
	}
	for {
		// The file is there once the server answers.
		out, err := exec.CommandContext(ctx, "sh", "-c", `. "$0" && printf %s "$TENANTCTL_POSTGRES_URL"`, env).Output()
		if err == nil {
			b.other = string(out)
			return stop, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("start the second server: %v", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// database is a server's URL with another database.
func database(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	u.Path = "/" + name
	return u.String()
}

// exec runs statements that take no part in what is measured, each for itself.
func (b *bench) exec(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%.60s: %w", sql, err)
		}
	}
	return nil
}

// fresh makes a database like another one, to load into.
func (b *bench) fresh(ctx context.Context, like string) (url string, drop func(), err error) {
	b.made++
	name := fmt.Sprintf("bench%d", b.made)
	if err := b.exec(ctx, database(b.server, "postgres"), fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, like)); err != nil {
		return "", nil, err
	}
	return database(b.server, name), func() {
		// What is left goes with the throwaway server.
		_ = b.exec(ctx, database(b.server, "postgres"), fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name))
	}, nil
}

// measure takes the time of do, from a checkpoint on.
func (b *bench) measure(ctx context.Context, do func() (peak int64, err error)) (measured, error) {
	for _, server := range []string{b.server, b.other} {
		if err := b.exec(ctx, server, "CHECKPOINT"); err != nil {
			return measured{}, err
		}
	}
	start := time.Now()
	peak, err := do()
	return measured{took: time.Since(start), peak: peak}, err
}

// tenantctl runs the program against a database of tenants, and tells how much memory it took at most.
func (b *bench) tenantctl(ctx context.Context, target, source string, nosql bool, args ...string) (peak int64, err error) {
	c := exec.CommandContext(ctx, b.program, args...)
	c.Dir = b.dir
	c.Env = append(os.Environ(), "TENANTCTL_POSTGRES_URL="+target, "TENANTCTL_IMPORT_URL="+source,
		"TENANTCTL_MIGRATIONS_POSTGRES="+filepath.Join(b.dir, "postgres"), "TENANTCTL_MIGRATIONS_MONGODB="+filepath.Join(b.dir, "mongodb"),
		fmt.Sprintf("TENANTCTL_NOSQL_ENABLED=%t", nosql))
	var out, errOut strings.Builder
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		return 0, fmt.Errorf("tenantctl %v: %w: %s", args, err, errOut.String())
	}
	b.said = out.String()
	peak = c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS != "darwin" {
		peak <<= 10 // elsewhere it is in KiB
	}
	return peak, nil
}

// better is the better of two measurements; the first may be none.
func better(a, b measured) measured {
	if a.took == 0 || b.took < a.took {
		a.took, a.load = b.took, b.load
	}
	a.peak = max(a.peak, b.peak)
	return a
}

// row adds a line to the table. ours is what import took for the same work; the zero value where that says nothing.
func (b *bench) row(work, who string, m, ours measured) {
	ratio, peak := "", ""
	switch {
	case ours.took == 0 || ours == m:
	case ours.took > m.took:
		ratio = fmt.Sprintf("takes %.2f x as long", float64(ours.took)/float64(m.took))
	default:
		ratio = fmt.Sprintf("is %.2f x as fast", float64(m.took)/float64(ours.took))
	}
	if m.peak > 0 {
		peak = fmt.Sprintf("%d MB", m.peak/1_000_000)
	}
	b.report.AppendRow(table.Row{work, who, m.took.Round(10 * time.Millisecond), ratio, peak})
}

// write writes a file into the folder of the benchmark.
func (b *bench) write(name, text string) error {
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}
