package legacy

import (
	"errors"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestASequenceThatEndsBeforeTheDataIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	s := newStand(t, `CREATE SEQUENCE short MAXVALUE 100; CREATE SEQUENCE down INCREMENT -1 MINVALUE -5 MAXVALUE -1; CREATE SEQUENCE enough AS integer;
			CREATE TABLE orders (id bigint PRIMARY KEY DEFAULT nextval('short'), no int DEFAULT nextval('enough'), back int DEFAULT nextval('down'))`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TABLE orders (id bigint PRIMARY KEY, firm int, no int, back int); INSERT INTO orders VALUES (100, 1, 1, -5), (500, 2, 1, -9)`)
	m := s.mapping("tables:\n  - {from: orders, key: firm, on_error: reject}\n")
	// The row that ends it is no tenant's.
	s.load(m, RunRequest{Tenants: nil}, 1)
	s.sql("INSERT INTO old.orders VALUES (101, 1, 2, -6); INSERT INTO old.firms VALUES (2)")
	for _, req := range []RunRequest{{}, {DryRun: true}, {Tenants: []tenant.Name{"f2"}}} {
		_, err := s.run(t.Context(), m, req)
		if !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), "orders.id: the source has") ||
			!strings.Contains(err.Error(), "ends at 100") || !strings.Contains(err.Error(), "orders.back: the source has -") {
			t.Errorf("%+v: %v", req, err)
		}
	}
	s.want("SELECT name FROM tenantctl.tenants", "f1")
	s.want("SELECT nextval('t_f1.enough')", "2")
}
