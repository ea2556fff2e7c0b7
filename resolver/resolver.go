package resolver

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config is what a Resolver needs.
type Config struct {
	Pool   *pgxpool.Pool   // leads to the catalog's database, by a pooler too; a connection or two are used
	Listen *pgx.ConnConfig // leads there past any pooler, for LISTEN; nil: changes are seen by polling alone
	Sources

	// MaxStale is how long requests are answered by what was read last, where the catalog cannot be read: 30 seconds
	// where it is 0. Then everything is refused. Operations that lock a tenant may have to wait for so long.
	MaxStale time.Duration
	Poll     time.Duration // how often changes are looked for; a second where it is 0
	Reload   time.Duration // how often all routes are read again; 5 minutes where it is 0
	Name     string        // for people: HOST:PID where it is empty
	Log      *slog.Logger  // nil: nothing is logged

	// Changed is called, by one goroutine, after routes have changed and before the catalog is told that they were
	// read: an operation that locks a tenant waits for it. It has a sixth of MaxStale, and is called again after an
	// error; requests are answered meanwhile. May be nil.
	Changed func(context.Context, *Resolver) error
}

// Resolver holds all routes, and follows their changes until it is closed.
type Resolver struct {
	pool     *pgxpool.Pool
	sources  Sources
	maxStale time.Duration
	name, id string
	log      *slog.Logger
	config   Config

	routes atomic.Pointer[snapshot]
	until  atomic.Int64 // answers are given to here, in nanoseconds since started
	seen   atomic.Int64 // when the catalog was last read, likewise

	started time.Time
	at      position
	loaded  time.Time // when all routes were last read
	renewed time.Time
	taken   position // what Changed has taken in: the catalog is told of no more
	told    bool     // the catalog knows of every change that was taken in
	behind  bool     // what was read last has not been taken in by Changed
	wake    chan struct{}
	again   atomic.Bool // all routes have to be read
	stop    context.CancelFunc
	done    sync.WaitGroup
	stats   stats
}

// stats count for metrics.
type stats struct {
	loads, changes, failures atomic.Int64
	answers                  [600]atomic.Int64 // by status
}

// readTime bounds one reading of changes, and loadTime one of all routes.
const (
	readTime = 10 * time.Second
	loadTime = 5 * time.Minute
)

// New reads all routes, registers with the catalog and follows changes until Close.
func New(ctx context.Context, c Config) (*Resolver, error) {
	if c.Pool == nil {
		return nil, errors.New("a resolver needs a pool")
	}
	c.MaxStale, c.Poll, c.Reload = cmp.Or(
		c.MaxStale,
		30*time.Second,
	), cmp.Or(
		c.Poll,
		time.Second,
	), cmp.Or(
		c.Reload,
		5*time.Minute,
	)
	if c.MaxStale < time.Second {
		return nil, errors.New("MaxStale is less than a second")
	}
	c.Poll = min(c.Poll, c.MaxStale/4)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	r := &Resolver{
		pool:     c.Pool,
		sources:  c.Sources,
		maxStale: c.MaxStale,
		name:     c.Name,
		id:       hex.EncodeToString(id[:]),
		log:      c.Log,
		config:   c,
		started:  time.Now(),
		wake:     make(chan struct{}, 1),
	}
	if r.name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		r.name = fmt.Sprintf("%s:%d", host, os.Getpid())
	}
	if _, err := r.register(ctx, position{}); err != nil {
		return nil, err
	}
	if err := r.sync(ctx); err != nil {
		return nil, errors.Join(err, r.leave(context.WithoutCancel(ctx)))
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.done.Go(func() { r.run(running) })
	if c.Listen != nil {
		r.done.Go(func() { r.listen(running) })
	}
	return r, nil
}

// Close ends it. Requests are refused from then on, and operations do not wait for it any more.
func (r *Resolver) Close(ctx context.Context) error {
	r.Stop()
	return r.leave(ctx)
}

// Stop ends it, but operations wait until its registration has run out: for one that could not take back what it has
// told others.
func (r *Resolver) Stop() {
	r.stop()
	r.done.Wait()
	r.until.Store(0)
}

func (r *Resolver) run(ctx context.Context) {
	poll := time.NewTicker(r.config.Poll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		case <-r.wake:
		}
		if err := r.sync(ctx); err != nil && ctx.Err() == nil {
			r.stats.failures.Add(1)
			r.log.Error("the routes could not be read", "error", err, "stale", r.stale().Round(time.Millisecond))
		}
	}
}

// sync brings the routes to what the catalog holds now, and tells it so.
func (r *Resolver) sync(ctx context.Context) error {
	if err := r.refresh(ctx); err != nil {
		return err
	}
	r.handOn(ctx)
	if r.told && time.Since(r.renewed) < r.maxStale/3 {
		return nil
	}
	return r.renew(ctx)
}

// handOn lets Changed take in what was read. Where it cannot, requests are answered nevertheless, but the catalog is
// not told how far this resolver has come, so that operations wait.
func (r *Resolver) handOn(ctx context.Context) {
	if r.behind && r.config.Changed != nil {
		short, cancel := context.WithTimeout(ctx, r.maxStale/6)
		defer cancel()
		if err := r.config.Changed(short, r); err != nil {
			if ctx.Err() == nil { // else it is being ended
				r.stats.failures.Add(1)
				r.log.Error("changes of routes could not be handed on", "error", err)
			}
			return
		}
	}
	r.told = r.told && !r.behind
	r.behind, r.taken = false, r.at
}

// renew registers with the catalog. Where that did not count on this resolver, a tenant may have been closed
// without it: requests are answered only once the routes were read after the registration.
func (r *Resolver) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	start := time.Now()
	live, err := r.register(ctx, r.taken)
	if err == nil && !live {
		if err = r.refresh(ctx); err != nil {
			return err
		}
		r.handOn(ctx)
		start = time.Now()
		if live, err = r.register(ctx, r.taken); err == nil && !live {
			err = errors.New("register with the catalog: the registration ran out while the routes were read")
		}
	}
	if err != nil {
		return err
	}
	r.renewed, r.told = start, true
	r.until.Store(int64(start.Add(r.maxStale).Sub(r.started)))
	return nil
}

// refresh reads what has changed, or everything where that is due.
func (r *Resolver) refresh(ctx context.Context) error {
	begun := time.Now()
	have := r.routes.Load()
	if have != nil && !r.again.Load() && time.Since(r.loaded) < r.config.Reload {
		short, cancel := context.WithTimeout(ctx, readTime)
		defer cancel()
		next, at, err := r.follow(short, have, r.at)
		if err == nil {
			r.behind = r.behind || next != have
			r.replace(next, at, begun)
			return nil
		}
		if !errors.Is(err, errJumped) {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	r.again.Store(false)
	next, at, err := r.load(ctx)
	if err == nil {
		// What changed while everything was read is read before anybody sees it: nothing that was seen is taken back.
		next, at, err = r.follow(ctx, next, at)
	}
	if err != nil {
		r.again.Store(true)
		return err
	}
	r.replace(next, at, begun)
	r.behind, r.loaded = true, begun
	r.stats.loads.Add(1)
	return nil
}

// replace answers by what was read, as of a position and of a time before.
func (r *Resolver) replace(next *snapshot, at position, begun time.Time) {
	r.routes.Store(next)
	r.at = at
	r.seen.Store(int64(begun.Sub(r.started)))
}

// listen wakes the resolver at each change. It is a hint: polling finds what it misses.
func (r *Resolver) listen(ctx context.Context) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := r.hear(ctx, func() { pause = 100 * time.Millisecond })
		if ctx.Err() != nil {
			return
		}
		r.log.Warn("the connection that listens for changes broke", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (r *Resolver) hear(ctx context.Context, heard func()) error {
	connecting, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, r.config.Listen)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // the server notices whatever this says
	}()
	if _, err := conn.Exec(connecting, `LISTEN tenantctl_routes`); err != nil {
		return err
	}
	r.again.Store(true) // of what changed without a listener, nobody was told
	for {
		r.nudge()
		heard()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}

func (r *Resolver) nudge() {
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
}

// stale is how long ago the catalog was read.
func (r *Resolver) stale() time.Duration {
	return time.Since(r.started) - time.Duration(r.seen.Load())
}

// Fresh tells whether requests are answered: the catalog was read lately enough.
func (r *Resolver) Fresh() bool { return int64(time.Since(r.started)) < r.until.Load() }

// Tenants is how many tenants there are.
func (r *Resolver) Tenants() int { return r.routes.Load().tenants }

// Resolve finds the tenant of a request, and whether it may be served.
func (r *Resolver) Resolve(q Request) Answer {
	if !r.Fresh() {
		return Answer{
			Status: http.StatusServiceUnavailable, RetryAfter: movingRetry,
			Reason: fmt.Sprintf("the catalog was last read %s ago", r.stale().Round(time.Second)),
		}
	}
	return r.routes.Load().resolve(q, r.sources, time.Now())
}

// Version tells of which state of the catalog an answer is: of two answers for one Catalog, that of the higher Number
// is the later one.
type Version struct {
	Number  int64
	Catalog string
}

// ResolveAt is Resolve, for who keeps answers. They are good for as long as left says, and then have to be asked for
// again.
func (r *Resolver) ResolveAt(q Request) (a Answer, at Version, left time.Duration) {
	s := r.routes.Load()
	left = time.Duration(r.until.Load()) - time.Since(r.started)
	return s.resolve(q, r.sources, time.Now()), Version{s.at.version(), s.at.catalog}, left
}

// Certifiable tells whether a certificate may be had for a host (200): a verified domain, or a tenant's name below
// the base domain. An unknown host is 404.
func (r *Resolver) Certifiable(host string) Answer {
	if !r.Fresh() {
		return r.Resolve(Request{})
	}
	return r.routes.Load().certifiable(host, r.sources)
}

// Stats are counts since the resolver began.
type Stats struct {
	Tenants, Loads, Changes, Failures int64
	Stale                             time.Duration // since the catalog was read
	Answers                           map[int]int64 // by status
}

// Stats counts what has happened so far.
func (r *Resolver) Stats() Stats {
	s := Stats{
		Tenants: int64(
			r.Tenants(),
		),
		Loads:    r.stats.loads.Load(),
		Changes:  r.stats.changes.Load(),
		Failures: r.stats.failures.Load(),
		Stale:    r.stale(),
		Answers:  map[int]int64{},
	}
	for i := range r.stats.answers {
		if n := r.stats.answers[i].Load(); n > 0 {
			s.Answers[i] = n
		}
	}
	return s
}

func (r *Resolver) count(status int) { r.stats.answers[status%len(r.stats.answers)].Add(1) }

// Once finds the tenant of one request by the catalog as it is, with a few of its routes.
func Once(ctx context.Context, pool *pgxpool.Pool, from Sources, q Request) (Answer, error) {
	hosts, names := candidates(q, from)
	r := &Resolver{pool: pool}
	s, err := r.read(ctx, &snapshot{}, `SELECT `+routeColumns+` FROM tenantctl.routes WHERE tenant_id IN (
		SELECT tenant_id FROM tenantctl.domains WHERE domain = ANY($1::text[])
		UNION SELECT id FROM tenantctl.tenants WHERE name = ANY($2::text[]) OR id::text = ANY($2::text[])
		UNION SELECT tenant_id FROM tenantctl.former_names WHERE name = ANY($2::text[]))`, hosts, names)
	if err != nil {
		return Answer{}, err
	}
	return s.resolve(q, from, time.Now()), nil
}

// candidates are the domains and names that may lead to the tenant of a request.
func candidates(q Request, from Sources) (hosts, names []string) {
	host, _, err := ParseHost(q.Host)
	if err != nil {
		return nil, nil
	}
	hosts = []string{host}
	if i := strings.IndexByte(host, '.'); i > 0 {
		hosts = append(hosts, "*"+host[i:])
	}
	if name, ok := below(host, from.BaseDomain); ok {
		names = append(names, name)
	}
	if from.Header != "" && q.Header != "" {
		names = append(names, q.Header)
	}
	if from.PathPrefix != "" && strings.HasPrefix(q.URI, from.PathPrefix) {
		if name, problem := pathName(q.URI, from.PathPrefix); problem == "" {
			names = append(names, name)
		}
	}
	if from.Claim != "" && q.Token != "" {
		if name, err := from.Key.claim(q.Token, from.Claim, time.Now()); err == nil {
			names = append(names, name)
		}
	}
	return hosts, names
}
