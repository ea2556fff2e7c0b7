package cmd

import (
	"errors"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestALineOfProgressNamesTheWorkTheFailuresAndTheTenantsInWork(t *testing.T) {
	p := newProgress(newApp(nil, nil, nil))
	at := func(e tenant.Event, name tenant.Name, done int) {
		e.Operation, e.Done, e.Total = &tenant.Operation{Kind: tenant.OpMigrate, Tenant: name}, done, 40
		p.count(e)
	}
	for _, name := range []tenant.Name{"acme", "globex", "initech", "hooli", "umbrella"} {
		at(tenant.Event{Begin: true}, name, 0)
	}
	at(tenant.Event{End: true, Err: errors.New("away")}, "globex", 1)
	for width, want := range map[int]string{
		200: "migrate 1/40 2%, 1 failed, in work: acme, initech, hooli, umbrella",
		60:  "migrate 1/40 2%, 1 failed, in work: acme, initech, hooli +1",
		40:  "migrate 1/40 2%, 1 failed, 4 in work",
		20:  "migrate 1/40 2%, 1 ",
		0:   "",
	} {
		if got := p.status(width); got != want {
			t.Errorf("at %d columns: %q, want %q", width, got, want)
		}
	}
	if got := p.others(); got != ", 1 failed, in work: acme, initech, hooli +1" {
		t.Errorf("a line in a pipe ends with %q", got)
	}
	at(tenant.Event{Look: &tenant.Look{Done: 7, Total: 40, Failed: 2, Working: []tenant.Name{"a", "b"}, Claimed: 30}}, "", 7)
	if got := p.status(60); !strings.HasPrefix(got, "migrate 7/40 17%, 2 failed") || !strings.HasSuffix(got, "in work: a, b +28") {
		t.Errorf("what another process is at work on: %q", got)
	}
}

func TestProgressIsShownAsWasAskedFor(t *testing.T) {
	for _, c := range []struct {
		flag   string
		quiet  bool
		format format
		json   bool
		want   string
	}{
		{"auto", false, formatTable, false, progressPlain},
		{"auto", false, formatTable, true, progressJSON},
		{"auto", false, formatJSON, true, progressNone},
		{"plain", false, formatJSON, true, progressPlain},
		{"json", false, formatTable, false, progressJSON},
		{"none", false, formatTable, true, progressNone},
		{"auto", true, formatTable, false, progressNone},
	} {
		a := newApp(nil, nil, nil)
		a.progressFlag, a.quiet, a.format = c.flag, c.quiet, c.format
		a.errOut.asJSON(c.json)
		if got := a.progressMode(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestDotenvValuesAreBareWhereTheyCanBe(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://u:p%40@h:5432/app?sslmode=require&x=1": "postgres://u:p%40@h:5432/app?sslmode=require&x=1",
		"": "", "a b": "'a b'", "#x": "'#x'", "$HOME": "'$HOME'", `it's "$x"`: `"it's \"\$x\""`,
	} {
		if got := dotenvQuote(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}
