package schema

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"golang.org/x/sync/errgroup"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// What a set of files leaves in a tenant is what stock goose leaves, one process for each schema: the same structure, the
// same rows, the same versions, and where a file fails, the same file. TENANTCTL_TEST_SEED=N makes other sets,
// TENANTCTL_TEST_FUZZ=30s tries one seed after another for that long, and TENANTCTL_TEST_SETS=REGEXP takes the sets of such names.
func TestTenantsAreWhatGooseMakesOfTheFiles(t *testing.T) {
	t.Parallel()
	const sets = 12
	only := regexp.MustCompile(os.Getenv("TENANTCTL_TEST_SETS"))
	round := func(seed uint64) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			all := corpus(t)
			all = append(all, generated(all, sets, rng)...)
			newComparison(t, rng).compare(slices.DeleteFunc(all, func(s fileSet) bool { return !only.MatchString(s.name) }))
		})
	}
	seed, err := strconv.ParseUint(os.Getenv("TENANTCTL_TEST_SEED"), 10, 64)
	if err != nil {
		seed = 1
	}
	limit, err := time.ParseDuration(os.Getenv("TENANTCTL_TEST_FUZZ"))
	if err != nil {
		round(seed)
		return
	}
	for end := time.Now().Add(limit); time.Now().Before(end) && !t.Failed(); {
		round(rand.Uint64())
	}
}

// way is how tenantctl gets the files: each is goose's way too, with a process for each stop.
type way int

const (
	atCreation      way = iota // all of them
	inOneTrip                  // the first, then the others, as the catalog knows the tenant
	lookedAt                   // the same, where the catalog does not
	fileByFile                 // one call for each
	fileByFileKnown            // one call for each, as the catalog knows the tenant
	back                       // what the files do they do on the way down, from the last to the first
	ways
)

func (w way) String() string {
	return [...]string{"at creation", "in one round trip", "after a look", "file by file", "file by file in one round trip", "on the way down"}[w]
}

// stops are the versions up to which one call goes.
func (w way) stops(s fileSet) []int64 {
	all := []int64{int64(len(s.files))}
	switch {
	case len(s.files) == 1 || w == atCreation || w == back:
	case w == inOneTrip, w == lookedAt:
		all = []int64{1, all[0]}
	default:
		all = nil
		for i := range s.files {
			all = append(all, int64(i+1))
		}
	}
	return all
}

// compared is a set that a tenant gets in one way, and what came of it.
type compared struct {
	set     int // its place among those that are compared
	dir     string
	way     way
	schema  string
	err     error
	stops   []int64 // how far goose is to go for the same
	bottom  int64   // how far goose is to come down then, where it is to come down
	refused bool    // it was refused, as the set says that it may be
}

// comparison runs sets through both, in databases of its own: one where a single worker takes all tenants on one
// connection, and one with eight of them and roles.
type comparison struct {
	t      *testing.T
	rng    *rand.Rand
	alone  catalog
	many   catalog
	since  time.Time
	role   string
	number int
}

func newComparison(t *testing.T, rng *rand.Rand) *comparison {
	t.Helper()
	c := &comparison{t: t, rng: rng, since: time.Now()}
	c.alone = newBench(t, example, func(c *Config) {
		c.MaxConnections, c.Roles, c.SchemasPerConnection, c.LockTimeout = 1, false, 0, 20*time.Second
	}).catalog()
	c.many = newBench(t, example, func(c *Config) {
		c.MaxConnections, c.SchemasPerConnection, c.LockTimeout = 8, 0, 20*time.Second
	}).catalog()
	c.role = c.alone.prefix + "clerk"
	super := connect(t, tenanttest.SuperuserURL(t))
	for _, b := range []catalog{c.alone, c.many} {
		if b.prefix == c.alone.prefix {
			_, err := super.Exec(t.Context(), "CREATE ROLE "+c.role)
			must(t, err)
		}
		_, err := super.Exec(t.Context(), fmt.Sprintf("GRANT %s TO %sprovisioner", c.role, b.prefix))
		must(t, err)
	}
	return c
}

// mostShrunk bounds how many sets are made smaller, since each takes a run for every file.
const mostShrunk = 2

// compare runs sets in all ways and says where a tenant is not what goose makes.
func (c *comparison) compare(sets []fileSet) {
	c.t.Helper()
	shrunk := 0
	for i, faults := range c.faults(sets) {
		if len(faults) == 0 {
			continue
		}
		c.t.Errorf("%s (%s), in %d of %d ways:\n%s", sets[i].name, sets[i].titles(), len(faults), 2*ways, faults[0])
		if shrunk++; shrunk > mostShrunk {
			continue
		}
		if smallest, faults := c.shrunk(sets[i]); len(faults) > 0 {
			c.t.Errorf("%s comes of these files alone:%s\n%s", sets[i].name, smallest.text(), faults[0])
		} else {
			c.t.Errorf("%s is right where no other tenants are migrated", sets[i].name)
		}
	}
}

// text is what is in the set's files.
func (s fileSet) text() string {
	var b strings.Builder
	for _, f := range s.files {
		fmt.Fprintf(&b, "\n-- %s.sql --\n%s", f.title, f.content)
	}
	return b.String()
}

// shrunk leaves out files for as long as the set is wrong without them.
func (c *comparison) shrunk(s fileSet) (fileSet, []string) {
	faults := c.faults([]fileSet{s})[0]
	for i := len(s.files) - 1; i >= 0 && len(faults) > 0 && len(s.files) > 1; i-- {
		if fewer := c.faults([]fileSet{s.without(i)})[0]; len(fewer) > 0 {
			s, faults = s.without(i), fewer
		}
	}
	return s, faults
}

// faults runs sets and gives what is wrong with each.
func (c *comparison) faults(sets []fileSet) [][]string {
	c.t.Helper()
	faults := make([][]string, len(sets))
	var all []*compared
	for i, s := range sets {
		dir := s.write(c.t, c.role)
		for w := range back {
			all = append(all, &compared{set: i, dir: dir, way: w, stops: w.stops(s)})
		}
		if mirror, ok := s.mirrored(); ok {
			all = append(all, &compared{set: i, dir: mirror.write(c.t, c.role), way: back, stops: back.stops(s)})
		}
	}
	made := map[string]*made{}
	for _, side := range []struct {
		catalog
		workers int
		rights  bool
	}{{c.alone, 1, true}, {c.many, 8, false}} {
		trials := make([]*compared, len(all))
		for i, tr := range all {
			copied := *tr
			trials[i] = &copied
		}
		c.work(side.catalog, side.workers, sets, trials)
		c.byGoose(made, trials)
		ours := c.contents(side.catalog, schemasOf(trials), side.rights)
		theirs := c.contents(c.alone, schemasMade(made), side.rights)
		for _, tr := range trials {
			m := made[tr.key()]
			if fault := tr.fault(ours[tr.schema], m, theirs[m.schema]); fault != "" {
				faults[tr.set] = append(faults[tr.set], fmt.Sprintf("%s, %d at a time: %s", tr.way, side.workers, fault))
			}
		}
	}
	return faults
}

func schemasOf(trials []*compared) []string {
	var all []string
	for _, tr := range trials {
		all = append(all, tr.schema)
	}
	return all
}

func schemasMade(by map[string]*made) []string {
	var all []string
	for _, m := range by {
		all = append(all, m.schema)
	}
	slices.Sort(all)
	return all
}

// contents dumps schemas of a database, as a superuser: what a file made as another role is read too.
func (c *comparison) contents(b catalog, schemas []string, rights bool) map[string]content {
	c.t.Helper()
	names := strings.NewReplacer(b.prefix+"provisioner", "PROVISIONER", c.role, "CLERK")
	return contents(c.t, b.superURL(), schemas, rights, names, c.since)
}

// superURL leads to the bench's database with every right.
func (b bench) superURL() string {
	b.t.Helper()
	u, err := url.Parse(tenanttest.SuperuserURL(b.t))
	must(b.t, err)
	u.Path = "/" + b.pool.Config().ConnConfig.Database
	return u.String()
}

// work gives the tenants of a database their files, in any order.
func (c *comparison) work(b catalog, workers int, sets []fileSet, trials []*compared) {
	c.t.Helper()
	stores := map[string]bench{}
	for _, tr := range trials {
		if _, opened := stores[tr.dir]; !opened {
			stores[tr.dir] = b.over(tr.dir)
		}
	}
	var g errgroup.Group
	g.SetLimit(workers)
	for _, i := range c.rng.Perm(len(trials)) {
		c.number++
		tr, tn := trials[i], b.tenant(fmt.Sprintf("t%05d", c.number))
		tr.schema = tn.Schema
		b.enter(tn)
		g.Go(func() error {
			r := stores[tr.dir].Resource
			tr.err = tr.run(b.ctx(1), r, tn)
			tr.settleRefusal(r, sets[tr.set])
			return nil
		})
	}
	must(c.t, g.Wait())
}

// run takes a tenant the trial's way.
func (tr *compared) run(ctx context.Context, r *Resource, tn tenant.Tenant) error {
	if tr.way == atCreation || tr.way == back {
		err := r.Create(ctx, tn)
		if err == nil && tr.way == back {
			_, err = r.Down(ctx, tn, 0)
		}
		return err
	}
	set, err := r.files()
	if err != nil {
		return err
	}
	if err := r.settle(ctx, tn, set); err != nil {
		return err
	}
	for _, stop := range tr.stops {
		moved, err := r.Up(ctx, tn, stop, false)
		if err != nil {
			return err
		}
		if tr.way == inOneTrip || tr.way == fileByFileKnown {
			tn.Versions = map[string]int64{tenant.KindPostgres: moved.To}
		}
	}
	return nil
}

// settleRefusal lets goose stop before the file that tenantctl refuses, where the set says that it may.
func (tr *compared) settleRefusal(r *Resource, s fileSet) {
	var e *tenant.Error
	if tr.refused = errors.As(tr.err, &e) && slices.Contains(s.refused, e.Code) && fileOf(tr.err) > 0; !tr.refused {
		return
	}
	last := fileOf(tr.err) - 1
	_, broken := r.files()
	switch {
	case broken != nil:
		last = 0
	case tr.way == back:
		tr.bottom = last + 1
		return
	}
	tr.stops = slices.DeleteFunc(slices.Clone(tr.stops), func(v int64) bool { return v > last })
	if last > 0 && !slices.Contains(tr.stops, last) {
		tr.stops = append(tr.stops, last)
	}
}

var fileInError = regexp.MustCompile(`\b0*(\d+)_\w+\.sql`)

// fileOf is the version of the file that an error names, 0 where it names none.
func fileOf(err error) int64 {
	m := fileInError.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	v, _ := strconv.ParseInt(m[1], 10, 64)
	return v
}

// key names what goose is to do for the same.
func (tr *compared) key() string { return fmt.Sprint(tr.set, tr.stops, tr.way == back, tr.bottom) }

// made is what goose did with a set.
type made struct {
	schema string
	failed int64 // the version that failed, 0 where none did
	err    error
}

// byGoose lets goose make what the trials are compared with, where it has not yet.
func (c *comparison) byGoose(all map[string]*made, trials []*compared) {
	c.t.Helper()
	var g errgroup.Group
	g.SetLimit(4)
	for _, tr := range trials {
		if all[tr.key()] != nil {
			continue
		}
		c.number++
		m := &made{schema: fmt.Sprintf("%sg%05d", c.alone.prefix, c.number)}
		all[tr.key()] = m
		c.alone.exec("CREATE SCHEMA %s", m.schema)
		g.Go(func() error {
			for _, stop := range tr.stops {
				if m.failed, m.err = gooseTo(c.t.Context(), c.alone.cfg.URL, m.schema, tr.dir, stop, (*goose.Provider).UpTo); m.err != nil {
					return nil
				}
			}
			if tr.way == back && len(tr.stops) > 0 {
				m.failed, m.err = gooseTo(c.t.Context(), c.alone.cfg.URL, m.schema, tr.dir, tr.bottom, (*goose.Provider).DownTo)
			}
			return nil
		})
	}
	must(c.t, g.Wait())
}

// gooseTo is a process of stock goose: connections of its own, and goose's own provider.
func gooseTo(ctx context.Context, url, schema, dir string, to int64, move func(*goose.Provider, context.Context, int64) ([]*goose.MigrationResult, error)) (failed int64, err error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return 0, err
	}
	cfg.RuntimeParams["search_path"] = schema
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // a cache of statements would end with a file's DISCARD ALL
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS(dir), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return 0, err
	}
	_, err = move(provider, ctx, to)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		failed = partial.Failed.Source.Version
	}
	return failed, err
}

// fault says what a tenant has that goose's schema has not, or the other way round.
func (tr *compared) fault(have content, goose *made, want content) string {
	said := fmt.Sprintf("tenantctl says: %v\ngoose says: %v", tr.err, goose.err)
	switch {
	case tr.refused && len(tr.stops) == 0:
		if have.empty() {
			return ""
		}
		return said + "\nand left\n" + have.String()
	case (tr.err != nil && !tr.refused) != (goose.err != nil), goose.err != nil && goose.failed != fileOf(tr.err):
		return said
	}
	if tr.err != nil {
		have = have.unnoted()
	}
	if diff := difference(have, want); diff != "" {
		return diff + "\n" + said
	}
	return ""
}
