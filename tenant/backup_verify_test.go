package tenant

import "testing"

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
