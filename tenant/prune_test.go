package tenant_test

import (
	"context"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// shelf is a place of backups that holds archives without manifests alone.
type shelf struct {
	tenant.Vault
	partial, removed []uuid.UUID
}

func (s *shelf) List(context.Context, uuid.UUID) iter.Seq2[tenant.Stored, error] {
	return func(yield func(tenant.Stored, error) bool) {
		for _, id := range s.partial {
			if !yield(tenant.Stored{ID: id, At: time.Now().Add(-48 * time.Hour)}, nil) {
				return
			}
		}
	}
}

func (s *shelf) ID() uuid.UUID { return uuid.Nil }

func (s *shelf) Remove(_ context.Context, _, id uuid.UUID) error {
	s.removed = append(s.removed, id)
	return nil
}

// What a live operation uploads is left alone by prune, however long it takes; what nobody works on is removed.
func TestPruneLeavesWhatIsBeingUploaded(t *testing.T) {
	w := newWorld(t)
	live, abandoned := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	if _, err := w.pool.Exec(t.Context(), `INSERT INTO tenantctl.operations (id, kind, tenant_id, tenant_name, state, actor, owner, lease_until)
		VALUES ($1, 'backup', gen_random_uuid(), 'acme', 'running', 'x', 'elsewhere|boot|1|run|999', now() + interval '1 hour')`, live); err != nil {
		t.Fatal(err)
	}
	s := &shelf{partial: []uuid.UUID{live, abandoned}}
	w.service.Vault = func(context.Context) (tenant.Vault, error) { return s, nil }
	if _, err := w.service.Prune(t.Context(), tenant.PruneRequest{Keep: func([]time.Time) [][]string { return nil }}, func(tenant.Kept) {}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.removed, []uuid.UUID{abandoned}) {
		t.Errorf("it removed %v, and %v is abandoned", s.removed, abandoned)
	}
}
