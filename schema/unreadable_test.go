package schema

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestOneTenantsLockHidesNoOther(t *testing.T) {
	t.Parallel()
	b := newBench(t, example, func(c *Config) { c.LockTimeout = 300 * time.Millisecond })
	var ts []tenant.Tenant
	for _, name := range []string{"acme", "globex", "hooli"} {
		tn := b.created(name)
		tn.State = tenant.Active
		b.exec("CREATE VIEW %s.v AS SELECT * FROM %[1]s.customers", tn.Schema)
		ts = append(ts, tn)
	}
	b.exec("GRANT SELECT ON %s.customers TO PUBLIC", ts[0].Schema)
	locked := ts[1]
	mine := b.super()
	leaveOpen(t, mine, fmt.Sprintf("LOCK TABLE %[1]s.customers, %[1]s.v, %[1]s.goose_db_version IN ACCESS EXCLUSIVE MODE", locked.Schema))
	who := fmt.Sprintf("pid %d (role ", mine.PgConn().PID())

	var said []string
	must(t, b.Verify(t.Context(), ts, nil, func(f tenant.Fault) {
		said = append(said, f.Rule)
	}))
	if got := strings.Join(said, " "); got != "public-grant" {
		t.Errorf("it found %q", got)
	}
	versions, err := b.Versions(t.Context(), ts)
	must(t, err)
	for i, v := range versions {
		if is := errors.Is(v.Err, tenant.ErrLocked) && strings.Contains(v.Err.Error(), who); is != (i == 1) || i != 1 && v.Version != 5 {
			t.Errorf("version of %s: %+v", ts[i].Name, v)
		}
	}
	prints, err := b.Structures(t.Context(), ts)
	var away tenant.Unreadable
	if !errors.As(err, &away) || len(away) != 1 || away[locked.ID] == nil || prints[0] == "" || prints[0] != prints[2] || prints[1] != "" {
		t.Errorf("structures %q, %v", prints, err)
	}
	if _, err := b.Stat(t.Context(), locked); !errors.Is(err, tenant.ErrLocked) || !strings.Contains(err.Error(), who) {
		t.Errorf("looking at it alone: %v", err)
	}
}
