package tenant_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

func TestNamesAreCheckedAgainstEveryRule(t *testing.T) {
	long := strings.Repeat("a", 40)
	for _, tc := range []struct {
		name, prefix string
		ok           bool
	}{
		{"acme", "tenant_", true},
		{"a", "tenant_", true},
		{"9to5", "tenant_", true},
		{"acme-corp", "tenant_", true},
		{"a--b", "tenant_", true},
		{long, "tenant_", true},
		{long, strings.Repeat("p", 23), true},
		{long, strings.Repeat("p", 24), false},
		{long + "a", "tenant_", false},
		{"", "tenant_", false},
		{"-acme", "tenant_", false},
		{"acme-", "tenant_", false},
		{"Acme", "tenant_", false},
		{"acme_corp", "tenant_", false},
		{"acme.corp", "tenant_", false},
		{"acme corp", "tenant_", false},
		{`ac"me`, "tenant_", false},
		{"ac'me; drop schema public", "tenant_", false},
		{"münchen", "tenant_", false},
		{"acme\x00", "tenant_", false},
		{"acme\n", "tenant_", false},
		{"public", "tenant_", false},
		{"information-schema", "tenant_", false},
		{"tenantctl", "tenant_", false},
		{"admin", "tenant_", false},
		{"local", "tenant_", false},
		{"config", "tenant_", false},
		{"pg-catalog", "tenant_", false},
		{"g-x", "p", false}, // pg_x
		{"9to5", "", false},
	} {
		_, err := tenant.Naming{Prefix: tc.prefix}.Derive(tc.name)
		if (err == nil) != tc.ok {
			t.Errorf("%q with prefix %q: %v", tc.name, tc.prefix, err)
		}
		if err != nil && !errors.Is(err, tenant.ErrInvalid) {
			t.Errorf("%q: %v is no ErrInvalid", tc.name, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"acme", "a-b", "a--b", "pg-x", "public", "ÄÖ", strings.Repeat("x", 41), "a_b", "A"} {
		f.Add(s, "acme")
	}
	place := regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	n := tenant.Naming{Prefix: "tenant_"}
	f.Fuzz(func(t *testing.T, a, b string) {
		pa, err := n.Derive(a)
		if err != nil {
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if len(a) > 40 || strings.ToLower(a) != a || !place.MatchString(pa.Schema) || !place.MatchString(pa.Database) || !place.MatchString(pa.Role) {
			t.Errorf("%q gave %+v", a, pa)
		}
		if pb, err := n.Derive(b); err == nil && a != b && (strings.EqualFold(pa.Schema, pb.Schema) || strings.EqualFold(pa.Database, pb.Database) || strings.EqualFold(pa.Role, pb.Role)) {
			t.Errorf("%q and %q collide: %+v, %+v", a, b, pa, pb)
		}
	})
}

func TestDomainsHaveOneSpelling(t *testing.T) {
	for in, want := range map[string]string{
		"Acme.Example.COM":          "acme.example.com",
		"acme.example.com.":         "acme.example.com",
		"bücher.example":            "xn--bcher-kva.example",
		"BÜCHER.example":            "xn--bcher-kva.example",
		"xn--bcher-kva.example":     "xn--bcher-kva.example",
		"localhost":                 "localhost",
		"":                          "",
		".":                         "",
		"*.example.com":             "",
		"https://acme.example.com":  "",
		"acme.example.com:8080":     "",
		"a b.example.com":           "",
		"10.0.0.1":                  "",
		"::1":                       "",
		"-acme.example.com":         "",
		"a..b":                      "",
		strings.Repeat("a", 64):     "",
		"user@example.com":          "",
		strings.Repeat("a.", 130):   "",
		"acme_corp.example.com":     "",
		"acme.example.com\x00.evil": "",
	} {
		got, err := tenant.ParseDomain(in)
		if want == "" {
			if !errors.Is(err, tenant.ErrInvalid) {
				t.Errorf("%q is taken as %q (%v)", in, got, err)
			}
		} else if err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", in, got, err, want)
		}
	}
}

func FuzzDomains(f *testing.F) {
	f.Add("acme.example.com")
	f.Add("bücher.example.")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := tenant.ParseDomain(s)
		if err != nil {
			return
		}
		if again, err := tenant.ParseDomain(d); err != nil || again != d {
			t.Errorf("%q is %q, and that is %q, %v", s, d, again, err)
		}
		if strings.ToLower(d) != d || len(d) > 253 {
			t.Errorf("%q is %q", s, d)
		}
	})
}

func TestANameIsMadeOfAnotherToolsByOneRule(t *testing.T) {
	for from, want := range map[string]string{
		"acme": "acme", "Acme_Corp.": "acme-corp", "--a  b--": "a-b", "Ünal GmbH": "nal-gmbh", "a.b.c": "a-b-c", "___": "", "17": "17",
	} {
		if got := tenant.NameFrom(from); got != want {
			t.Errorf("NameFrom(%q) is %q, want %q", from, got, want)
		}
	}
}
