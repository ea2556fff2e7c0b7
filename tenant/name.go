package tenant

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Name is a tenant's name: a DNS label of 1 to 40 characters, unique among the living.
type Name string

const (
	maxName  = 40
	maxPlace = 63 // bytes: PostgreSQL's NAMEDATALEN-1 and MongoDB's limit for a database are the same
)

var (
	label      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	identifier = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	reserved   = map[string]bool{
		"public": true, "information-schema": true, "tenantctl": true, // schemas that are there already
		"admin": true, "local": true, "config": true, // MongoDB's own databases
	}
)

// Naming makes the names that a tenant has in the stores.
type Naming struct {
	Prefix string // of schema, database and role; lower-case letters, digits and underscores
}

// Places are the names one tenant has in the stores.
type Places struct {
	Name                   Name
	Schema, Database, Role string
}

// Derive checks a tenant's name against every rule and gives its places. Two different names never give the same
// place, whatever a store thinks of upper and lower case: both are lower-case and "-" becomes "_", which no name has.
func (n Naming) Derive(s string) (Places, error) {
	switch {
	case s == "":
		return Places{}, Invalid("a name has 1 to 40 characters of a-z, 0-9 and '-'", "invalid tenant name: it is empty")
	case len(s) > maxName:
		return Places{}, Invalid(fmt.Sprintf("shorten it to %d characters", maxName), "invalid tenant name %s: it is longer than %d characters", shorten(s), maxName)
	case !label.MatchString(s):
		return Places{}, Invalid("use a-z, 0-9 and '-', beginning and ending with a letter or digit", "invalid tenant name %q", s)
	case reserved[s]:
		return Places{}, Invalid("choose another name", "invalid tenant name %q: it is reserved", s)
	case strings.HasPrefix(s, "pg-"):
		return Places{}, Invalid("choose a name that does not begin with pg-", "invalid tenant name %q: names that begin with pg- are PostgreSQL's own", s)
	}
	place := n.Prefix + strings.ReplaceAll(s, "-", "_")
	switch {
	case len(place) > maxPlace:
		return Places{}, Invalid("shorten the name, or naming.prefix in the configuration", "invalid tenant name %q: %q is longer than the %d bytes that the stores allow", s, place, maxPlace)
	case !identifier.MatchString(place) || strings.HasPrefix(place, "pg_"):
		return Places{}, Invalid("set naming.prefix to letters, such as tenant_", "invalid tenant name %q: %q is no name for a schema", s, place)
	}
	return Places{Name: Name(s), Schema: place, Database: place, Role: place}, nil
}

// shorten quotes s for an error, however long and strange it is.
func shorten(s string) string {
	if r := []rune(s); len(r) > maxName {
		s = string(r[:maxName]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// ParseDomain gives the one spelling of a host name that the catalog keeps: lower-case, IDNA's ASCII form, without a
// trailing dot.
func ParseDomain(s string) (string, error) {
	const hint = "give a host name alone, such as acme.example.com"
	if strings.ContainsAny(s, ":/@ *") {
		return "", Invalid(hint, "invalid domain %s", shorten(s))
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return "", Invalid(hint, "invalid domain %s: it is an address", shorten(s))
	}
	d, err := domains.ToASCII(s)
	d = strings.TrimSuffix(d, ".")
	if err == nil {
		// What IDNA itself would not take back is no domain: broken UTF-8, say.
		_, err = domains.ToASCII(d)
	}
	if err != nil || d == "" || strings.HasSuffix(d, ".") || !utf8.ValidString(s) {
		return "", Invalid(hint, "invalid domain %s", shorten(s))
	}
	return d, nil
}

// ParseWildcard is ParseDomain that takes a wildcard for its first label too, such as *.acme.example.
func ParseWildcard(s string) (string, error) {
	parent, wild := strings.CutPrefix(s, "*.")
	d, err := ParseDomain(parent)
	switch {
	case !wild || err != nil:
		return d, err
	case !strings.Contains(d, "."):
		return "", Invalid("give the domain below which all hosts are the tenant's, such as *.acme.example", "invalid domain %s: it is everybody's", shorten(s))
	case len(d)+2 > maxDomain:
		return "", Invalid("shorten it", "invalid domain %s: it is longer than %d characters", shorten(s), maxDomain)
	}
	return "*." + d, nil
}

const maxDomain = 253

var (
	labelKey   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$`)
)

// reservedLabels begins the keys of labels that this program gives.
const reservedLabels = "tenantctl/"

// CheckGivenLabel is CheckLabel for a label that a person gives, who may not give those of this program.
func CheckGivenLabel(key, value string) error {
	if strings.HasPrefix(key, reservedLabels) {
		return Invalid("choose another key", "label %s is reserved", shorten(key))
	}
	return CheckLabel(key, value)
}

// CheckLabel refuses a key or value that a selector could not name.
func CheckLabel(key, value string) error {
	if !labelKey.MatchString(key) {
		return Invalid("use up to 63 letters, digits, '.', '_', '/' and '-', beginning and ending with a letter or digit", "invalid label key %s", shorten(key))
	}
	if !labelValue.MatchString(value) {
		return Invalid("use up to 63 letters, digits, '.', '_' and '-', beginning and ending with a letter or digit", "invalid value %s of label %q", shorten(value), key)
	}
	return nil
}

// givenLabels are those that people gave.
func givenLabels(all map[string]string) map[string]string {
	given := maps.Clone(all)
	maps.DeleteFunc(given, func(k, _ string) bool { return strings.HasPrefix(k, reservedLabels) })
	return given
}

// ParseLabels reads key=value pairs, as --label gives them.
func ParseLabels(pairs []string) (map[string]string, error) {
	labels := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			return nil, Invalid("write it as key=value", "invalid label %s", shorten(p))
		}
		if err := CheckGivenLabel(k, v); err != nil {
			return nil, err
		}
		if _, twice := labels[k]; twice {
			return nil, Invalid("give each key once", "label %q is given twice", k)
		}
		labels[k] = v
	}
	return labels, nil
}
