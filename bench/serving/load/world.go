package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tenantctl/tenantctl/resolver"
)

// gate is what answers of a tenant may be.
type gate int

const (
	open gate = iota // nothing is being done to it: 200
	busy             // an operation is on its way
	shut             // suspend or delete has returned: never 200
)

// tenant is one of the stack's. Each change of its gate is another pointer.
type tenant struct {
	name, id string
	gate     atomic.Pointer[gate]
}

func (t *tenant) set(g gate) { t.gate.Store(&g) }

// load is one run.
type load struct {
	options
	program, config, dir, grant string
	url, base                   string
	resolvers, apps             []string
	keys                        *resolver.Keys
	forger                      *resolver.Keys // of a key that nobody knows

	mu      sync.Mutex
	tenants []*tenant
	random  *rand.Rand

	django, trivial counts
	changes         changes
	rows            [][3]string
	proxy           *proxy
	ends            []func()
}

func newLoad(ctx context.Context, o options) (*load, error) {
	l := &load{options: o, random: rand.New(rand.NewPCG(o.seed, 1))}
	get := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			fmt.Fprintf(os.Stderr, "%s is not set: run it by examples/stack/run.sh\n", name)
			os.Exit(2)
		}
		return value
	}
	l.program = filepath.Join(get("STACK_BIN"), "tenantctl")
	l.config, l.dir, l.grant = get("STACK_CONFIG"), get("STACK_DIR"), get("STACK_GRANT")
	l.url, l.base = get("STACK_URL"), get("STACK_BASE_DOMAIN")
	l.resolvers, l.apps = strings.Fields(get("STACK_RESOLVERS")), strings.Fields(get("STACK_APPS"))
	secret, err := os.ReadFile(filepath.Join(l.dir, "assertion.keys"))
	if err != nil {
		return nil, err
	}
	if l.keys, err = resolver.NewKeys(bytes.TrimSpace(secret)); err != nil {
		return nil, err
	}
	if l.forger, err = resolver.NewKeys(bytes.Repeat([]byte("f"), 32)); err != nil {
		return nil, err
	}
	if err := l.list(ctx); err != nil {
		return nil, err
	}
	l.proxy, err = l.startProxy(ctx)
	return l, err
}

// end ends what the program has started, the last first.
func (l *load) end() {
	for i := len(l.ends) - 1; i >= 0; i-- {
		l.ends[i]()
	}
}

// list takes up the tenants that are there.
func (l *load) list(ctx context.Context) error {
	out, err := l.tenantctl(ctx, "list", "-o", "json")
	if err != nil {
		return err
	}
	var all []struct{ ID, Name, State string }
	if err := json.Unmarshal(out, &all); err != nil {
		return err
	}
	for _, one := range all {
		if one.State == "active" {
			l.add(one.Name, one.ID)
		}
	}
	if len(l.tenants) < 2 {
		return errors.New("there are fewer than 2 tenants")
	}
	return nil
}

func (l *load) add(name, id string) {
	t := &tenant{name: name, id: id}
	t.set(open)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tenants = append(l.tenants, t)
}

// any gives a tenant, and another one.
func (l *load) any() (t, other *tenant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t = l.tenants[l.random.IntN(len(l.tenants))]
	for other = t; other == t; {
		other = l.tenants[l.random.IntN(len(l.tenants))]
	}
	return t, other
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tenants)
}

func (l *load) roll(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.IntN(n)
}

func (l *load) host(t *tenant) string { return t.name + "." + l.base }

// tenantctl runs the program, and gives its answer.
func (l *load) tenantctl(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, l.program, append([]string{"--config", l.config}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("tenantctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return out, nil
}
