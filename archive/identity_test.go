package archive

import (
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestAStoreHasAnIDFromItsFirstBackupOn(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		vaults := make([]*Vault, 4)
		for i := range vaults {
			vaults[i] = open(t, Config{URL: url})
			if id := vaults[i].ID(); id != uuid.Nil {
				t.Fatalf("a store that was only opened has the id %s", id)
			}
		}
		var writers sync.WaitGroup
		for _, v := range vaults { // at once: they agree on one
			writers.Go(func() {
				b := newBackup(uuid.New())
				a, err := v.Create(t.Context(), b, 0)
				if err != nil {
					t.Error(err)
					return
				}
				a.Abandon()
			})
		}
		writers.Wait()
		again := open(t, Config{URL: url})
		for _, v := range vaults {
			if v.ID() == uuid.Nil || v.ID() != again.ID() {
				t.Errorf("the ids are %s and %s", v.ID(), again.ID())
			}
		}
		if err := again.store.write(t.Context(), identityFile, identityType, []byte("what is this")); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenVault(t.Context(), Config{URL: url}); tenant.Code(err) != "store_id" {
			t.Errorf("an id that is none: error is %v", err)
		}
	})
}
