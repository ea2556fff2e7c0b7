package cmd_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// everyFault tells whether all of the matrix of faults is asked for, and not a sample.
func everyFault() bool { return os.Getenv("TENANTCTL_TEST_FAULTS") == "all" }

// restartable is a server that a test may restart: in a way that the server has, or killed.
type restartable interface {
	URL() string
	Restart(mode string)
}

// A server is restarted, or crashes, while a command stands between two steps. Whatever the command says then, the same one
// again brings about what it would have without that.
func TestPostgreSQLRestartedBetweenTwoSteps(t *testing.T) {
	server := tenanttest.PostgresServer(t)
	t.Setenv("TENANTCTL_POSTGRES_URL", server.URL())
	restartBetween(t, server, []string{"fast", "immediate"}, "create", "suspend", "migrate")
}

func TestMongoDBKilledWithItsDataBetweenTwoSteps(t *testing.T) {
	server := tenanttest.StartMongoDB(t)
	t.Setenv("TENANTCTL_NOSQL_URL", server.URL())
	restartBetween(t, server, []string{"kill"}, "clone", "purge", "migrate")
}

// restartBetween takes every case and every point of it with TENANTCTL_TEST_FAULTS=all, else one point of a few cases.
func restartBetween(t *testing.T, server restartable, modes []string, sample ...string) {
	shared := newRestartBench(t, false)
	tried := 0
	for _, c := range faultCases {
		if !everyFault() && !slices.Contains(sample, c.name) {
			continue
		}
		f := &faultTest{faultCase: c, bench: shared}
		if f.engine || f.scratch || f.alone { // they look at all tenants
			f.bench = newRestartBench(t, f.engine)
		}
		ref := "q" + strings.ReplaceAll(f.name, "-", "")
		f.prepare(t, fault{name: ref})
		f.trace = slices.DeleteFunc(f.traced(t, "", 0, f.command(ref)), func(p string) bool { return !strings.HasSuffix(p, "#1") })
		f.after = f.state(t, ref)
		f.wipeAlone(t, ref)
		points := f.trace
		if !everyFault() {
			points = []string{points[len(points)*(1+tried%3)/4]}
		}
		for i, point := range points {
			tried++
			f.restarted(t, server, ref+strconv.Itoa(i), point, modes[tried%len(modes)])
		}
	}
	t.Logf("restarted it %d times", tried)
	if tried < 3 {
		t.Error("these are too few: cases got lost")
	}
}

// newRestartBench has a tenant "source" with a backup.
func newRestartBench(t *testing.T, engine bool) *bench {
	b := newBench(t)
	b.keepUsers(t)
	if engine {
		b.delegate(t)
	}
	b.must(t, "init")
	if !engine {
		b.must(t, "create", "source")
		b.customer(t, "source", "someone")
		b.must(t, "backup", "source")
	}
	return b
}

// wipeAlone takes a tenant away that others of its world would be compared with.
func (f *faultTest) wipeAlone(t *testing.T, name string) {
	if f.alone {
		f.must(t, "delete", name, "--now", "--no-backup", "--yes")
	}
}

func (f *faultTest) restarted(t *testing.T, server restartable, name, point, mode string) {
	t.Helper()
	f.prepare(t, fault{name: name})
	stopped := f.start(t, "stop@"+point, f.command(name)...)
	stopped.stopped()
	server.Restart(mode)
	f.pg.Reset() // the sessions of the test are gone as well
	stopped.goOn()
	first := stopped.wait()
	if first.code != 0 {
		if again := f.run(t, f.command(name)...); again.code != 0 && (f.again == 0 || again.code != f.again) {
			t.Errorf("%s at %s (%s): the command again: %s\nfirst: %s", f.name, point, mode, again, first)
		}
	}
	if diff := differences(f.after, f.state(t, name)); diff != "" {
		t.Errorf("%s at %s (%s): it did not come to the same end:\n%s\nfirst: %s", f.name, point, mode, diff, first)
	}
	if held := f.unfinished(t, name); len(held) > 0 {
		t.Errorf("%s at %s (%s): the tenant is held by %v", f.name, point, mode, held)
	}
	f.wipeAlone(t, name)
}
