package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// world is the program, its stores, and what they should hold.
type world struct {
	program, dir string
	postgres     *line // between tenantctl and the stores; applications and checks go past them
	mongodb      *line
	pool         *pgxpool.Pool
	documents    *mongo.Client
	direct       []string // environment past the lines
	env          []string // through them

	places []*place

	mu       sync.Mutex
	random   *rand.Rand
	running  map[*exec.Cmd]bool
	done     map[string]int // pieces of work, by kind and how they ended
	faults   []string
	versions int // migrations there are
}

// place is where one tenant after another lives. Whoever holds mu alone changes what the tenant holds; its application
// holds it with others while it writes.
type place struct {
	mu      sync.RWMutex
	n       int
	life    int    // counts the tenants that lived here
	name    string // of the tenant; empty where there is none
	state   string
	before  string // the state in which it was deleted
	holds   contents
	login   string // URL of the application; empty where it has to ask for one
	backups []kept

	count int      // of what its application wrote
	past  []string // what was done with it
}

// contents are the keys of a tenant's rows and documents: those that are there, and those of which nobody was told.
type contents struct {
	rows, documents, unsure map[string]bool
}

func (c contents) clone() contents {
	return contents{maps.Clone(c.rows), maps.Clone(c.documents), maps.Clone(c.unsure)}
}

func nothing() contents {
	return contents{map[string]bool{}, map[string]bool{}, map[string]bool{}}
}

// kept is a backup and what was in it.
type kept struct {
	id string
	contents
}

func newWorld(ctx context.Context, program string, tenants int, seed uint64) (w *world, err error) {
	w = &world{program: program, random: rand.New(rand.NewPCG(seed, 0)), running: map[*exec.Cmd]bool{}, done: map[string]int{}}
	postgres, mongodb := os.Getenv("TENANTCTL_POSTGRES_URL"), os.Getenv("TENANTCTL_NOSQL_URL")
	if postgres == "" || mongodb == "" {
		return nil, errors.New("there are no servers: run it by make soak")
	}
	if w.dir, err = os.MkdirTemp("", "tenantctl-soak-"); err != nil {
		return nil, err
	}
	if w.postgres, err = newLine(postgres); err != nil {
		return nil, err
	}
	if w.mongodb, err = newLine(mongodb); err != nil {
		return nil, err
	}
	if w.pool, err = pgxpool.New(ctx, postgres); err != nil {
		return nil, err
	}
	if w.documents, err = mongo.Connect(options.Client().ApplyURI(mongodb)); err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(w.dir, "migrations"), os.DirFS("migrations/example")); err != nil {
		return nil, err
	}
	common := append(os.Environ(), "TENANTCTL_MIGRATIONS_POSTGRES="+filepath.Join(w.dir, "migrations", "postgres"), "TENANTCTL_MIGRATIONS_MONGODB="+filepath.Join(w.dir, "migrations", "mongodb"),
		"TENANTCTL_BACKUP_URL="+filepath.Join(w.dir, "backups"), "TENANTCTL_OPERATIONS_LEASE="+lease.String(), "TENANTCTL_NAMING_PREFIX=soak_", "TENANTCTL_ACTOR=soak", "TENANTCTL_POSTGRES_ALLOW_SUPERUSER=true")
	w.direct = append(slices.Clone(common), "TENANTCTL_POSTGRES_URL="+postgres, "TENANTCTL_NOSQL_URL="+mongodb)
	w.env = append(slices.Clone(common), "TENANTCTL_POSTGRES_URL="+w.postgres.url, "TENANTCTL_NOSQL_URL="+w.mongodb.url)
	for n := range tenants {
		w.places = append(w.places, &place{n: n, holds: nothing()})
	}
	return w, nil
}

func (w *world) close() {
	w.postgres.listener.Close()
	w.mongodb.listener.Close()
	w.pool.Close()
	_ = w.documents.Disconnect(context.Background()) // the servers are thrown away
	os.RemoveAll(w.dir)
}

// chance is a number below n.
func (w *world) chance(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

// fault takes down what should not be.
func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := fmt.Sprintf(format, args...)
	w.faults = append(w.faults, f)
	fmt.Println("FAULT", f)
}

// faultOf is a fault in a place, whose past is told once.
func (w *world) faultOf(p *place, format string, args ...any) {
	w.fault("%s%s", fmt.Sprintf(format, args...), "\n past: "+strings.Join(p.past, "\n past: "))
	p.past = nil
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[what]++
}

// ended is how a run of the program came out.
type ended struct {
	code           int // -1 where it was killed
	stdout, stderr string
}

// lease is how long an operation stays its process's without a sign of life.
const lease = 3 * time.Second

// tenantctl runs the program in the midst of what disturbs it: one in four is killed, one in twenty stopped for longer than its lease.
func (w *world) tenantctl(ctx context.Context, args ...string) ended {
	strike := func(*os.Process) {}
	after := time.Duration(1+w.chance(1200)) * time.Millisecond
	switch n := w.chance(20); {
	case n < 5:
		strike = func(p *os.Process) { _ = p.Signal(syscall.SIGKILL) } // it may be over already
	case n == 5:
		strike = func(p *os.Process) {
			if p.Signal(syscall.SIGSTOP) == nil {
				w.count("stopped a process for longer than its lease")
				time.Sleep(lease + time.Second)
				_ = p.Signal(syscall.SIGCONT) // as above
			}
		}
	}
	return w.exec(ctx, w.env, after, strike, args...)
}

// undisturbed runs the program past the lines.
func (w *world) undisturbed(ctx context.Context, args ...string) ended {
	return w.exec(ctx, w.direct, 0, nil, args...)
}

// patience is how long a run of the program may take.
const patience = 3 * time.Minute

// exec runs the program, and strikes it after a while where that is given. What the soak has begun it ends, whatever
// becomes of ctx.
func (w *world) exec(ctx context.Context, env []string, after time.Duration, strike func(*os.Process), args ...string) ended {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	c := exec.CommandContext(ctx, w.program, args...)
	c.Dir, c.Env = w.dir, env
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Start(); err != nil {
		w.fault("start the program: %v", err)
		return ended{code: 1}
	}
	if strike != nil {
		defer time.AfterFunc(after, func() { strike(c.Process) }).Stop()
	}
	err := c.Wait()
	e := ended{c.ProcessState.ExitCode(), out.String(), errOut.String()}
	if ctx.Err() != nil {
		w.fault("tenantctl %s did not end within %s", strings.Join(args, " "), patience)
	}
	if strings.Contains(e.stderr, "panic:") {
		w.fault("tenantctl %s: %v\n%s", strings.Join(args, " "), err, e.stderr)
	}
	return e
}
