package tenant

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestDefinitionsNeedTheSameTextOnlyWhereFingerprintsDoNotProveThem(t *testing.T) {
	t.Parallel()
	now := Dumped{Server: "PostgreSQL 15.20", Fingerprint: "3:a"}
	was := func(change func(*Dumped)) Dumped {
		d := now
		change(&d)
		return d
	}
	for _, c := range []struct {
		what, part string
		was        Dumped
		same       bool
	}{
		{"the fingerprint proves them", "pre-data", now, false},
		{"the fingerprint does not tell of all", "post-data", was(func(d *Dumped) { d.Notes = []string{"x"} }), true},
		{"another structure", "pre-data", was(func(d *Dumped) { d.Fingerprint = "3:b" }), true},
		{"a fingerprint of another version", "pre-data", was(func(d *Dumped) { d.Fingerprint = "2:b" }), false},
		{"another server", "pre-data", was(func(d *Dumped) { d.Server = "PostgreSQL 15.18"; d.Fingerprint = "3:b" }), false},
		{"grants are another role's", "grants", was(func(d *Dumped) { d.Fingerprint = "3:b" }), false},
		{"what sequences are at is in no fingerprint", "sequences", now, true},
	} {
		part := Part{Path: "postgres/" + c.part + ".sql", SHA256: "x"}
		w := tally{parts: map[string]Part{part.Path: {Path: part.Path, SHA256: "y"}}}
		if err := w.differs(KindPostgres, []Part{part}, now, c.was); (err != nil) != c.same {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// Whoever can write to the place of backups could push all good ones out by newer ones that nobody has signed.
func TestUnsignedAndPartialBackupsPushNoOtherOneOut(t *testing.T) {
	newest := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	last2 := PruneRequest{Keep: func(times []time.Time) [][]string {
		reasons := make([][]string, len(times))
		for i := range min(2, len(times)) {
			reasons[i] = []string{"last"}
		}
		return reasons
	}}
	for _, c := range []struct{ signed, kept string }{ // newest first: s is signed, - is not, p and m hold one store
		{"ssss", "kk.."},
		{"----", "kk.."},
		{"--sss", "kkkk."}, // newer ones without a signature
		{"s--s-s", "kk.k.."},
		{"ss--", "kk.."},
		{"-s", "kk"},
		{"---s", "kk.k"},
		{"ppp-m-", "kk.kkk"}, // no backup of one store pushes a whole one out
	} {
		var group []*Backup
		for i, is := range c.signed {
			b := &Backup{CreatedAt: newest.Add(-time.Duration(i) * time.Hour)}
			switch is {
			case 's':
				b.SignedBy = "key"
			case 'p', 'm':
				b.Only = string(is)
			}
			group = append(group, b)
		}
		got := ""
		for _, reasons := range last2.keep(group) {
			got += map[bool]string{true: "k", false: "."}[len(reasons) > 0]
		}
		if got != c.kept {
			t.Errorf("of %s, %s are kept, want %s", c.signed, got, c.kept)
		}
	}
}

func TestTheRefusalOfABackupNamesItOnce(t *testing.T) {
	id := uuid.MustParse("01a22df2-48ba-7871-93ad-60b4fc931518")
	forged := &Error{Kind: ErrDiffers, Code: "forged", Msg: "part postgres/pre-data.sql, line 4: DROP is refused"}
	once := ofBackup(id, forged)
	for _, err := range []error{once, ofBackup(id, once)} {
		if want := "backup 01a22df2-48ba-7871-93ad-60b4fc931518: part postgres/pre-data.sql, line 4: DROP is refused"; err.Error() != want || !errors.Is(err, ErrDiffers) {
			t.Errorf("the refusal is %q, want %q", err, want)
		}
	}
	if err := ofBackup(id, errBusy); err != errBusy {
		t.Errorf("another error became %v", err)
	}
}

var errBusy = &Error{Kind: ErrBusy, Msg: "another process is at work"}
