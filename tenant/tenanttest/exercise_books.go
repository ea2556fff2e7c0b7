package tenanttest

import (
	"path/filepath"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

func baseline(t *testing.T, w world) {
	m, newest, all := w.migrator(t)
	b, ok := m.(tenant.Baseliner)
	if !ok {
		return
	}
	tn := w.create(t, "acme")
	_, err := m.Down(t.Context(), tn, 0)
	must(t, err)
	for i, dry := range []bool{true, false, false} {
		moved, err := b.Baseline(t.Context(), tn, newest, dry)
		must(t, err)
		if marked := len(moved.Ran); moved.Applied != all || moved.To != newest || i < 2 && marked != all || i == 2 && marked != 0 {
			t.Errorf("baseline %d gave %+v", i+1, moved)
		}
		st := w.stat(t, tn)
		if st.Objects != 0 {
			t.Errorf("after baseline %d, there are %d things", i+1, st.Objects)
		}
		if dry && st.Applied != 0 || !dry && (st.Applied != all || st.Version != newest) {
			t.Errorf("after baseline %d, stat is %+v", i+1, st)
		}
	}
	files, err := m.Files(t.Context())
	must(t, err)
	_, err = b.Baseline(t.Context(), tn, files[0].Version, false)
	refused(t, err, tenant.ErrInvalid)
	_, err = b.Baseline(t.Context(), tn, newest+1000, false)
	refused(t, err, tenant.ErrInvalid)
	_, err = b.Baseline(t.Context(), w.Tenant(t, "missing"), newest, false)
	refused(t, err, tenant.ErrMissing)
	moved, err := m.Up(t.Context(), tn, tenant.Newest, false)
	must(t, err)
	if len(moved.Ran) != 0 {
		t.Errorf("after a baseline, up gave %+v", moved)
	}
}

func rehearse(t *testing.T, w world) {
	m, _, _ := w.migrator(t)
	if _, ok := m.(tenant.Rehearser); !ok {
		return
	}
	tn := w.create(t, "acme")
	files, err := m.Files(t.Context())
	must(t, err)
	_, err = m.Down(t.Context(), tn, files[0].Version)
	must(t, err)
	w.AddMigration(t)
	m, _, all := w.migrator(t)
	files, err = m.Files(t.Context())
	must(t, err)
	for i, want := range []int{all - 1, 0} {
		var told []tenant.RehearsedFile
		must(t, m.(tenant.Rehearser).Rehearse(t.Context(), tn, tenant.Newest, false, func(f tenant.RehearsedFile) { told = append(told, f) }))
		if len(told) != want {
			t.Fatalf("call %d told of %d files, want %d", i+1, len(told), want)
		}
		for j, f := range told {
			if f.Version != files[j+1].Version || f.Failed || f.Store != m.Kind() || f.File != filepath.Base(files[j+1].Path) {
				t.Errorf("it told of %+v, want %+v", f, files[j+1])
			}
		}
		w.whole(t, tn)
	}
}
