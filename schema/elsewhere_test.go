package schema

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

func TestWhatARoleHasInOtherDatabasesIsFoundBeforeAPurge(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	must(t, b.Elsewhere(t.Context(), tn))
	super, err := pgx.Connect(t.Context(), tenanttest.SuperuserURL(t))
	must(t, err)
	defer super.Close(t.Context())
	table := pgx.Identifier{b.prefix + "elsewhere"}.Sanitize()
	do := func(sql string) {
		t.Helper()
		_, err := super.Exec(t.Context(), sql)
		must(t, err)
	}
	do("CREATE TABLE " + table + " (n int); GRANT SELECT ON " + table + " TO " + quote(tn.Role))
	var e *tenant.Error
	if err := b.Elsewhere(t.Context(), tn); !errors.As(err, &e) || !errors.Is(err, tenant.ErrForeign) ||
		!strings.Contains(e.Hint, "DROP OWNED BY "+quote(tn.Role)) || !strings.Contains(e.Msg, super.Config().Database+" (1)") {
		t.Errorf("got %+v", err)
	}
	do("DROP TABLE " + table)
	must(t, b.Elsewhere(t.Context(), tn))
}
