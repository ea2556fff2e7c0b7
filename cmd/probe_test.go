package cmd_test

import (
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// What a killed probe has left is gone after the next one, and the killed one is closed.
func TestAKilledProbeLeavesNothingAfterTheNext(t *testing.T) {
	b := newBench(t)
	b.users = mongoproxy.Start(t, b.mongodb)
	b.users.CheckLogins()
	b.mongodb = b.users.URL()
	b.must(t, "init")
	b.must(t, "create", "acme", "globex")
	logins := func() int {
		n := 0
		for _, l := range b.everything(t) {
			if (strings.HasPrefix(l, "role ") || strings.HasPrefix(l, "user ")) && strings.Contains(l, "$probe_") {
				n++
			}
		}
		return n
	}
	for _, point := range []string{"postgres/probe-connected", "mongodb/probe-user-made"} {
		if end := b.start(t, "kill@"+point, "verify", "--probe").wait(); !end.killed {
			t.Fatalf("at %s: %s", point, end)
		}
		if logins() == 0 {
			t.Fatalf("killed at %s, it left no login: the test proves nothing", point)
		}
		if end := b.must(t, "verify", "--probe"); strings.Contains(end.stderr, "keep tenants apart") {
			t.Errorf("%s", end)
		}
		if n := logins(); n > 0 {
			t.Errorf("killed at %s, %d logins are left after the next probe", point, n)
		}
	}
	if ops := b.column(t, `SELECT state FROM tenantctl.operations WHERE kind = 'probe' ORDER BY id`); strings.Join(ops, " ") != "failed done failed done" {
		t.Errorf("the operations are %v", ops)
	}
}

// Ctrl-C ends a probe, and its logins with it.
func TestCtrlCEndsAProbeAndItsLogins(t *testing.T) {
	b := newBench(t)
	b.must(t, "init")
	b.must(t, "create", "acme", "globex")
	if end := b.start(t, "interrupt@postgres/probe-connected", "verify", "--probe").wait(); end.code != 130 {
		t.Fatalf("%s", end)
	}
	if left := b.column(t, `SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1) AND rolname LIKE '%probe%'`, b.prefix); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	if ops := b.column(t, `SELECT state FROM tenantctl.operations WHERE kind = 'probe'`); strings.Join(ops, " ") != "aborted" {
		t.Errorf("the operations are %v", ops)
	}
}
