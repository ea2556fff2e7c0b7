// The program serving measures a resolver against a bare net/http handler, with few tenants and with many, in one run:
//
//	bin/devstack run --fast -- go run ./bench/serving [-tenants 1000000]
//
// CPU time is that of the server's process alone: requests come from another one. Ratios hold better than times.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/resolver"
	"github.com/tenantctl/tenantctl/tenant"
)

const (
	few      = 1000
	middle   = 100_000
	rounds   = 3
	requests = 20_000 // a round
	clients  = 4
	base     = "app.test"
)

func main() {
	many := flag.Int("tenants", 1_000_000, "how many tenants the large catalog has")
	load := flag.String("load", "", "used by the program itself: send requests to this address")
	to := flag.Int("to", 0, "used by the program itself: for so many tenants")
	flag.Parse()
	var err error
	if *load != "" {
		err = send(*load, *to)
	} else {
		err = measure(context.Background(), *many)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/serving:", err)
		os.Exit(1)
	}
}

// measure fills a catalog of its own and prints the figures.
func measure(ctx context.Context, many int) error {
	pool, drop, err := database(ctx)
	if err != nil {
		return err
	}
	defer drop()
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	fronts := map[int]*resolver.Front{}
	have := 0
	for _, n := range []int{few, middle, many} {
		if err := fill(ctx, pool, have, n); err != nil {
			return err
		}
		if have = n; n == few {
			if err := changes(ctx, pool); err != nil {
				return err
			}
		}
		before, began := heap(), time.Now()
		r, err := resolver.New(ctx, resolver.Config{
			Pool: pool, Sources: resolver.Sources{BaseDomain: base},
			Poll: time.Hour, MaxStale: 10 * time.Hour, Reload: 10 * time.Hour,
		})
		if err != nil {
			return err
		}
		defer func() { _ = r.Close(ctx) }() // the database is dropped
		fmt.Printf("%9d tenants: read in %.1f s, %.0f MB\n", n, time.Since(began).Seconds(), float64(heap()-before)/1e6)
		keys, err := resolver.NewKeys([]byte(strings.Repeat("k", 32)))
		if err != nil {
			return err
		}
		fronts[n] = &resolver.Front{Resolver: r, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Keys: keys}
	}
	unsigned := *fronts[few]
	unsigned.Keys = nil
	var times [4][]float64 // microseconds of CPU a request
	for range rounds {     // in turns, since others work on the machine too
		for i, h := range []http.Handler{bare, &unsigned, fronts[few], fronts[many]} {
			cpu, err := cost(ctx, h, map[bool]int{false: few, true: many}[i == 3])
			if err != nil {
				return err
			}
			times[i] = append(times[i], cpu)
		}
	}
	for i := range times {
		slices.Sort(times[i])
	}
	mid := func(i int) float64 { return times[i][rounds/2] }
	fmt.Printf("CPU a request: bare handler %.1f us, /auth %.1f us, with an assertion %.1f us, of %d tenants %.1f us\n",
		mid(0), mid(1), mid(2), many, mid(3))
	fmt.Printf("ratios: /auth to bare %.2f (goal 1.5), with an assertion %.2f, %d tenants to %d %.2f (goal 1.2)\n",
		mid(1)/mid(0), mid(2)/mid(0), many, few, mid(3)/mid(2))
	return nil
}

// changes measures how long after its commit a change is answered by.
func changes(ctx context.Context, pool *pgxpool.Pool) error {
	for _, c := range []struct {
		name   string
		listen *pgx.ConnConfig
		poll   time.Duration
		n      int
	}{
		{"with NOTIFY (goal 100 ms)", pool.Config().ConnConfig, time.Hour, 300},
		{"without, poll 1s (goal 5 s)", nil, time.Second, 30},
	} {
		r, err := resolver.New(ctx, resolver.Config{
			Pool: pool, Listen: c.listen, Sources: resolver.Sources{BaseDomain: base}, Poll: c.poll, MaxStale: 10 * time.Hour,
		})
		if err != nil {
			return err
		}
		for c.listen != nil && r.Stats().Loads < 2 { // it reads all again once it listens
			time.Sleep(time.Millisecond)
		}
		var took []time.Duration
		for i := range c.n {
			state := []string{"suspended", "active"}[i%2]
			if _, err := pool.Exec(ctx, `UPDATE tenantctl.tenants SET state = $1 WHERE name = 't1'`, state); err != nil {
				return err
			}
			began := time.Now()
			for r.Resolve(resolver.Request{Host: "t1." + base}).Tenant.State != state {
				if time.Since(began) > time.Minute {
					return fmt.Errorf("a change was not seen in a minute")
				}
				time.Sleep(100 * time.Microsecond)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		fmt.Printf("a change is seen %s: p50 %v, p99 %v\n", c.name,
			took[len(took)/2].Round(100*time.Microsecond), took[len(took)*99/100].Round(100*time.Microsecond))
		if err := r.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cost is the CPU time of this process for a request, in microseconds.
func cost(ctx context.Context, h http.Handler, tenants int) (float64, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // it ends by Close
	defer server.Close()
	runtime.GC()
	before := used()
	load := exec.CommandContext(ctx, os.Args[0], "-load", listener.Addr().String(), "-to", strconv.Itoa(tenants))
	out, err := load.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("send requests: %w: %s", err, out)
	}
	return float64((used() - before).Microseconds()) / requests, nil
}

func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no reason to
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// send asks over kept connections as a proxy does, and fails on any answer but 204.
func send(address string, tenants int) error {
	errs := make([]error, clients)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() { errs[c] = ask(address, tenants, c) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func ask(address string, tenants, client int) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i := range requests / clients {
		host := "t" + strconv.Itoa((i*7919+client*104729)%tenants) + "." + base
		if _, err := conn.Write([]byte("GET /auth HTTP/1.1\r\nHost: resolver\r\nX-Forwarded-Host: " + host +
			"\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Uri: /orders?page=2\r\n\r\n")); err != nil {
			return err
		}
		for first := true; ; first = false {
			line, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			if first && !strings.HasPrefix(line, "HTTP/1.1 204 ") {
				return fmt.Errorf("%s is answered %s", host, strings.TrimSpace(line))
			}
			if line == "\r\n" {
				break
			}
		}
	}
	return nil
}

// database makes a catalog in a database of its own.
func database(ctx context.Context) (*pgxpool.Pool, func(), error) {
	super := os.Getenv("TENANTCTL_POSTGRES_URL")
	if super == "" {
		return nil, nil, fmt.Errorf("TENANTCTL_POSTGRES_URL is not set: run it by bin/devstack run")
	}
	admin, err := pgx.Connect(ctx, super)
	if err != nil {
		return nil, nil, err
	}
	name := "bench_serving_" + strconv.Itoa(os.Getpid())
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, nil, err
	}
	u, err := url.Parse(super)
	if err != nil {
		return nil, nil, err
	}
	u.Path = "/" + name
	config, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		return nil, nil, err
	}
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	drop := func() {
		pool.Close()
		if _, err := admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		_ = admin.Close(ctx) // the program ends
	}
	if _, _, err := tenant.NewCatalog(pool, "bench", time.Minute).Init(ctx, false); err != nil {
		drop()
		return nil, nil, err
	}
	return pool, drop, nil
}

// fill adds tenants with a verified domain each. No resolver follows meanwhile, so that triggers need not fire.
func fill(ctx context.Context, pool *pgxpool.Pool, from, to int) error {
	_, err := pool.Exec(ctx, fmt.Sprintf(`ALTER TABLE tenantctl.tenants DISABLE TRIGGER USER;
		ALTER TABLE tenantctl.domains DISABLE TRIGGER USER;
		INSERT INTO tenantctl.tenants (id, name, state, schema_name, database_name, role_name)
			SELECT gen_random_uuid(), 't' || i, 'active', 'tenant_t' || i, 'tenant_t' || i, 'tenant_t' || i
			FROM generate_series(%d, %d) i;
		INSERT INTO tenantctl.domains (domain, tenant_id, position, verified_at, verified_by)
			SELECT 'www.' || name || '.example', id, 1, now(), 'assumed' FROM tenantctl.tenants ON CONFLICT DO NOTHING;
		ALTER TABLE tenantctl.tenants ENABLE TRIGGER USER; ALTER TABLE tenantctl.domains ENABLE TRIGGER USER;`,
		from, to-1), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	_, err = pool.Exec(ctx, `ANALYZE tenantctl.tenants; ANALYZE tenantctl.domains`, pgx.QueryExecModeSimpleProtocol)
	return err
}
