// Package serve tells others what a resolver answers: applications that ask Redis.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantctl/tenantctl/resolver"
)

// KeyPrefix begins the keys of entries; the host follows, as resolver.ParseHost gives it.
const KeyPrefix = "tenantctl:route:"

const (
	entryTime    = 60 * time.Second // an entry's life at most
	negativeTime = 2 * time.Second  // where the host is nobody's
	maxEntries   = 100_000          // hosts whose entries are looked after; more are not written
	waiting      = 1024             // hosts whose entries have yet to be written; more are not
	commandTime  = 500 * time.Millisecond
	pauseTime    = time.Second     // between attempts to reach a Redis that is away
	lateTime     = 2 * time.Second // after which a write that is on its way is not done any more
	atOnce       = 500             // commands sent together
)

// Entry is what Redis holds of a host, as JSON: what a request gets that names its tenant by this host alone.
type Entry struct {
	Version int64  `json:"v"`       // of the catalog: the higher is the later
	Catalog string `json:"catalog"` // which catalog that is; versions of two cannot be compared
	resolver.Answer
}

// Cache keeps entries in Redis for the hosts that somebody has asked a resolver about. It is never read for an answer
// of the resolver's own.
//
// An entry ends with the time that the resolver which wrote it may answer for. A resolver looks after the entries
// that it has written itself: before it tells the catalog that it has seen a change it writes those anew which that concerns.
//
// A nil Cache does nothing.
type Cache struct {
	client *redis.Client
	log    *slog.Logger
	asked  chan string
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex // of those who write: answers are found and sent in one order
	written map[string]written
	failing bool // so that a log has one line of it
}

// written is an entry that Redis may hold.
type written struct {
	sum    uint64    // of the answer that was sent last
	ends   time.Time // Redis has forgotten every entry of this host by then
	others time.Time // and by then those with other answers
}

// begin notes that an answer is about to be sent: whether it arrives over a broken connection nobody knows.
func (w written) begin(sum uint64, life time.Duration) written {
	if w.sum != sum {
		w.sum, w.others = sum, w.ends
	}
	if ends := time.Now().Add(life + lateTime); ends.After(w.ends) {
		w.ends = ends
	}
	return w
}

// put writes an entry that is not older than the one that is there, unless it comes late: who wrote it may be counted
// on no more.
var put = redis.NewScript(`
local now = redis.call('TIME')
if now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[4]) then return -1 end
local there = redis.call('GET', KEYS[1])
if there then
	local ok, old = pcall(cjson.decode, there)
	if ok and type(old) == 'table' and old.catalog == ARGV[2] and (tonumber(old.v) or 0) > tonumber(ARGV[1]) then
		return 0
	end
end
redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[3])
return 1`)

// NewCache connects when it is first needed: a Redis that is away keeps nobody from starting. Its error never holds the
// URL.
func NewCache(url string, log *slog.Logger) (*Cache, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("it cannot be read: write it as redis://USER:PASSWORD@HOST:PORT/0, or rediss:// for TLS")
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = commandTime, commandTime, commandTime
	options.PoolTimeout, options.MaxRetries, options.ContextTimeoutEnabled = commandTime, -1, true
	options.PoolSize, options.DialerRetries = 4, 1
	redis.SetLogger(quiet{})
	return &Cache{
		client: redis.NewClient(options), log: log, asked: make(chan string, waiting), written: map[string]written{},
	}, nil
}

// quiet keeps the client's own words out of the log, which has ours.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// Start writes the entries of the hosts that Asked names, by what the resolver answers.
func (c *Cache) Start(r *resolver.Resolver) {
	if c == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.done.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case host := <-c.asked:
				c.mu.Lock()
				err := c.report(c.write(ctx, r, []string{host}, false))
				c.mu.Unlock()
				if err != nil {
					c.recover(ctx)
				}
			}
		}
	})
}

// recover waits until Redis answers again. What is not tried needs no looking after: entries that may have been written
// are what an operation waits for.
func (c *Cache) recover(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pauseTime):
		}
		if c.client.Ping(ctx).Err() != nil {
			continue
		}
		for len(c.asked) > 0 { // old questions; the applications ask again
			<-c.asked
		}
		return
	}
}

// Asked notes that somebody has asked about a host, as ParseHost gives it. It never blocks.
func (c *Cache) Asked(host string) {
	if c == nil {
		return
	}
	select {
	case c.asked <- host:
	default: // the application asks the resolver once more
	}
}

// Changed writes those entries anew whose answers have changed. It is for resolver.Config.
func (c *Cache) Changed(ctx context.Context, r *resolver.Resolver) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	hosts := make([]string, 0, len(c.written))
	for host, w := range c.written {
		if now.After(w.ends) {
			delete(c.written, host)
		} else {
			hosts = append(hosts, host)
		}
	}
	return c.report(c.write(ctx, r, hosts, true))
}

// write writes the entries of hosts; where they may have changed, of those alone whose entry is not known to be so.
func (c *Cache) write(ctx context.Context, r *resolver.Resolver, hosts []string, changed bool) error {
	for len(hosts) > 0 {
		n := min(atOnce, len(hosts))
		if err := c.writeFew(ctx, r, hosts[:n], changed); err != nil {
			return err
		}
		hosts = hosts[n:]
	}
	return nil
}

func (c *Cache) writeFew(ctx context.Context, r *resolver.Resolver, hosts []string, changed bool) error {
	pipe := c.client.Pipeline()
	results := map[string]*redis.Cmd{}
	for _, host := range hosts {
		e, life := entryOf(r, host)
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		old, had := c.written[host]
		sum := sumOf(e)
		switch {
		case changed && old.sum == sum && time.Now().After(old.others), !had && len(c.written) >= maxEntries:
			continue
		case life < time.Millisecond && changed:
			return errors.New("write to Redis: the catalog was not read lately")
		case life < time.Millisecond: // nobody may be told anything now
			continue
		}
		c.written[host] = old.begin(sum, life)
		results[host] = put.Eval(ctx, pipe, []string{KeyPrefix + host},
			e.Version, e.Catalog, life.Milliseconds(), time.Now().Add(lateTime).UnixMilli(), text)
	}
	if len(results) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write to Redis: %w", err)
	}
	for host, result := range results {
		if n, err := result.Int(); err != nil || n < 0 {
			return errors.New("write to Redis: an entry came late, or the clock of Redis is ahead")
		}
		// What was there is replaced, or was another resolver's later one, which that resolver looks after.
		w := c.written[host]
		w.others = time.Time{}
		c.written[host] = w
	}
	return nil
}

// entryOf is what a host's requests get, and for how long Redis may say so.
func entryOf(r *resolver.Resolver, host string) (e Entry, life time.Duration) {
	a, at, left := r.ResolveAt(resolver.Request{Host: host})
	life = entryTime
	if a.Tenant == nil {
		life = negativeTime
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(at.Catalog)) // never fails
	return Entry{at.Number, strconv.FormatUint(uint64(sum.Sum32()), 16), a}, min(life, left-lateTime)
}

// sumOf tells answers apart, whatever their version.
func sumOf(e Entry) uint64 {
	e.Version = 0
	text, err := json.Marshal(e)
	if err != nil {
		return 0
	}
	sum := fnv.New64a()
	_, _ = sum.Write(text) // never fails
	return sum.Sum64()
}

// Close takes back what Redis may hold of this resolver's. After an error the resolver must not leave the catalog
// (Resolver.Stop): operations wait until the entries have ended.
func (c *Cache) Close(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if c.stop != nil {
		c.stop()
		c.done.Wait()
	}
	defer func() { _ = c.client.Close() }() // nothing is in flight
	c.mu.Lock()                             // the resolver may still call Changed
	defer c.mu.Unlock()
	var keys []string
	for host, w := range c.written {
		if time.Now().Before(w.ends) {
			keys = append(keys, KeyPrefix+host)
		}
	}
	for len(keys) > 0 {
		n := min(atOnce, len(keys))
		if err := c.client.Unlink(ctx, keys[:n]...).Err(); err != nil {
			return fmt.Errorf("entries could not be taken out of Redis: %w", err)
		}
		keys = keys[n:]
	}
	clear(c.written) // what is gone is not written anew
	return nil
}

// report logs the first of failures, and their end.
func (c *Cache) report(err error) error {
	switch {
	case err != nil && !c.failing:
		c.log.Warn("Redis does not take entries; applications ask the resolver", "error", err)
	case err == nil && c.failing:
		c.log.Warn("Redis takes entries again")
	}
	c.failing = err != nil
	return err
}
