package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

type config struct {
	fast       bool   // no fsync
	verbose    bool   // logs of the servers on stderr
	postgres   int    // major version of PostgreSQL; 0 for any that is installed
	mongodbURL string // a real server in place of the embedded one
}

var errInterrupted = errors.New("interrupted while the servers were starting")

// stack is a running pair of servers with their folder.
type stack struct {
	dir      *workdir
	postgres *postgres
	mongodb  *mongodb // nil where a real server is used
	nosqlURL string
}

// startStack starts both servers; with an error, nothing of them is left.
func startStack(ctx context.Context, cfg config) (*stack, error) {
	s := &stack{nosqlURL: cfg.mongodbURL}
	if err := s.start(ctx, cfg); err != nil {
		if ctx.Err() != nil {
			err = errInterrupted
		}
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *stack) start(ctx context.Context, cfg config) error {
	if err := forgetOtherServers(); err != nil {
		return err
	}
	owner, err := serverAccount()
	if err != nil {
		return err
	}
	if s.dir, err = createWorkdir(owner); err != nil {
		return err
	}
	if s.postgres, err = startPostgres(ctx, s.dir.path, owner, cfg); err != nil {
		return err
	}
	if s.nosqlURL != "" {
		return nil
	}
	if s.mongodb, err = startMongoDB(ctx, s.dir.path, cfg); err != nil {
		return err
	}
	s.nosqlURL = s.mongodb.url
	return nil
}

// stop ends what was started and removes the folder; it works on a stack that is half started.
func (s *stack) stop() error {
	if s.mongodb != nil {
		s.mongodb.stop()
	}
	if s.postgres != nil {
		s.postgres.stop()
	}
	if s.dir != nil {
		return s.dir.remove()
	}
	return nil
}

// lost is closed when PostgreSQL ends before it is told to; the embedded server ends with devstack only.
func (s *stack) lost() <-chan struct{} { return s.postgres.proc.done }

// variables are what commands inside the stack find in their environment, besides PATH.
func (s *stack) variables() [][2]string {
	vars := [][2]string{
		{"TENANTCTL_POSTGRES_URL", s.postgres.url("tenantctl")},
		// Nobody else's code is on a server that is thrown away.
		{"TENANTCTL_POSTGRES_ALLOW_SUPERUSER", "true"},
		{"TENANTCTL_NOSQL_URL", s.nosqlURL},
	}
	if program, err := os.Executable(); err == nil {
		vars = append(vars, [2]string{"DEVSTACK", program})
	}
	if s.postgres.hasPsql() {
		vars = append(vars, [2]string{"DEVSTACK_PG_BINDIR", s.postgres.bindir})
	}
	return vars
}

// export sets the variables in devstack's own environment, so that PATH also decides which program a command is.
func (s *stack) export() error {
	// Of an outer stack, whose psql may be another.
	if err := os.Unsetenv("DEVSTACK_PG_BINDIR"); err != nil {
		return err
	}
	for _, v := range s.variables() {
		if err := os.Setenv(v[0], v[1]); err != nil {
			return err
		}
	}
	if s.postgres.psqlIsHidden() {
		return os.Setenv("PATH", s.postgres.bindir+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	return nil
}

// script gives the variables as lines for a POSIX shell.
func (s *stack) script() string {
	var b strings.Builder
	for _, v := range s.variables() {
		fmt.Fprintf(&b, "export %s=%s\n", v[0], quoteForShell(v[1]))
	}
	if s.postgres.psqlIsHidden() {
		fmt.Fprintf(&b, "export PATH=%s:\"$PATH\"\n", quoteForShell(s.postgres.bindir))
	}
	return b.String()
}

// forgetOtherServers drops the variables by which psql, pgx and the server itself would find another PostgreSQL than this one
// or other settings (PGHOST, PGSERVICE, PGOPTIONS, PGDATA and so on).
func forgetOtherServers() error {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func quoteForShell(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// writePrivately writes a file that only its owner can read, whole or not at all: who waits for it finds all of it.
func writePrivately(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
