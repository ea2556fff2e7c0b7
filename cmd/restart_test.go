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

// PostgreSQL is restarted, or crashes, while a command stands between two steps. Whatever the command says then, the same one
// again brings about what it would have without that.
func TestPostgreSQLRestartedBetweenTwoSteps(t *testing.T) {
	server := tenanttest.PostgresServer(t)
	t.Setenv("TENANTCTL_POSTGRES_URL", server.URL())
	b := newBench(t)
	b.keepUsers(t)
	b.must(t, "init")
	b.must(t, "create", "source")
	b.customer(t, "source", "someone")
	b.must(t, "backup", "source")
	tried := 0
	for _, c := range faultCases {
		f := &faultTest{faultCase: c, bench: b}
		if f.engine || f.scratch || f.alone || !everyFault() && !slices.Contains([]string{"create", "suspend", "migrate"}, f.name) {
			continue
		}
		ref := "q" + strings.ReplaceAll(f.name, "-", "")
		f.prepare(t, fault{name: ref})
		f.trace = slices.DeleteFunc(f.traced(t, "", 0, f.command(ref)), func(p string) bool { return !strings.HasSuffix(p, "#1") })
		f.after = f.state(t, ref)
		points := f.trace
		if !everyFault() {
			points = []string{points[len(points)*(1+tried%3)/4]}
		}
		for i, point := range points {
			tried++
			f.restarted(t, server, ref+strconv.Itoa(i), point, []string{"fast", "immediate"}[tried%2])
		}
	}
	t.Logf("restarted it %d times", tried)
	if tried < 3 {
		t.Error("these are too few: cases got lost")
	}
}

func (f *faultTest) restarted(t *testing.T, server *tenanttest.Server, name, point, mode string) {
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
}
