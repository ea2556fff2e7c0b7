package schema

import (
	"fmt"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestBaselineAddsOnlyWhatTheBookLacks(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	b.exec("DELETE FROM %s.goose_db_version WHERE version_id IN (2, 4, 5)", tn.Schema)
	dry, err := b.Baseline(t.Context(), tn, 4, true)
	must(t, err)
	if n := b.scalar("SELECT count(*) FROM %s.goose_db_version", tn.Schema); n != "3" {
		t.Errorf("a dry run left %s rows", n)
	}
	for _, want := range []string{"[2 4]", "[]"} {
		moved, err := b.Baseline(t.Context(), tn, 4, false)
		must(t, err)
		if fmt.Sprint(moved.Ran) != want || moved.Applied != 4 || moved.To != 4 {
			t.Errorf("baseline gave %+v, want %s marked", moved, want)
		}
		if want == "[2 4]" && fmt.Sprint(moved) != fmt.Sprint(dry) {
			t.Errorf("the dry run said %+v, it was %+v", dry, moved)
		}
	}
	if n := b.scalar("SELECT count(*) FROM %s.goose_db_version", tn.Schema); n != "5" {
		t.Errorf("the book has %s rows, want 5", n)
	}
}

func TestBaselineRefusesWhatItCannotVouchFor(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	_, err := b.Baseline(t.Context(), tn, 3, false)
	refused(t, err, tenant.ErrInvalid, "version 5 is applied already", "tenantctl migrate down")
	_, err = b.Baseline(t.Context(), tn, 42, false)
	refused(t, err, tenant.ErrInvalid, "no migration with version 42")
	b.exec("INSERT INTO %s.goose_db_version (version_id, is_applied) VALUES (77, true)", tn.Schema)
	_, err = b.Baseline(t.Context(), tn, 5, false)
	refused(t, err, tenant.ErrInvalid, "version 77", "newest checkout")

	other := b.tenant("globex")
	_, err = b.Baseline(t.Context(), other, 3, false)
	refused(t, err, tenant.ErrMissing, "does not exist")
	b.exec("CREATE SCHEMA %s", other.Schema)
	_, err = b.Baseline(t.Context(), other, 3, false)
	refused(t, err, tenant.ErrForeign)
	if b.scalar("to_regclass('%s.goose_db_version')", other.Schema) != "" {
		t.Error("a refusal made a book")
	}
}

func TestBookThatBaselineMakesIsTheTenantsToRead(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	rights := func() string {
		return b.scalar(`SELECT concat_ws(' ', t.relacl::text, has_sequence_privilege('%[2]s', s.oid, 'USAGE, SELECT, UPDATE'))
			FROM pg_class t, pg_class s WHERE t.oid = '%[1]s.goose_db_version'::regclass AND s.oid = '%[1]s.goose_db_version_id_seq'::regclass`, tn.Schema, tn.Role)
	}
	was := rights()
	b.exec("DROP TABLE %s.goose_db_version", tn.Schema)
	_, err := b.Baseline(t.Context(), tn, 0, false)
	must(t, err)
	if rights() != was {
		t.Errorf("the rights on the book are %s, were %s", rights(), was)
	}
	vs, err := b.Versions(t.Context(), []tenant.Tenant{tn})
	must(t, err)
	if vs[0].Version != 0 || vs[0].Err != nil {
		t.Errorf("versions says %+v", vs[0])
	}
}
