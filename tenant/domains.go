package tenant

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Serves is what a domain of a tenant is for.
type Serves string

// What a domain is for.
const (
	ServesAnswer    Serves = "answer"    // the tenant's pages
	ServesCanonical Serves = "canonical" // the tenant's pages, and where redirecting domains lead to
	ServesRedirect  Serves = "redirect"  // its requests are sent to the canonical domain
)

// Domain is a host name, or a wildcard for one label below a name, that leads to a tenant once it is verified.
type Domain struct {
	Domain     string     `json:"domain"`
	Tenant     Name       `json:"tenant"`
	Serves     Serves     `json:"serves"`
	Verified   bool       `json:"verified"`
	VerifiedAt *time.Time `json:"verified_at"`
	VerifiedBy string     `json:"verified_by,omitempty"` // dns or assumed
	Record     TXTRecord  `json:"record"`                // what proves that the domain is the tenant's
}

// TXTRecord is an entry in the DNS.
type TXTRecord struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// How it is known that a domain is its tenant's.
const (
	VerifiedByDNS     = "dns"
	VerifiedByAssumed = "assumed" // a person said so
)

func scanDomain(row pgx.CollectableRow) (d Domain, err error) {
	var token string
	if err = row.Scan(&d.Domain, &d.Tenant, &d.Serves, &d.VerifiedAt, &d.VerifiedBy, &token); err != nil {
		return d, err
	}
	if d.Verified = d.VerifiedAt != nil; d.Verified {
		utc := d.VerifiedAt.UTC()
		d.VerifiedAt = &utc
	}
	d.Record = TXTRecord{Name: "_tenantctl." + strings.TrimPrefix(d.Domain, "*."), Type: "TXT", Value: "tenantctl-domain=" + token}
	return d, nil
}

func (c *Catalog) domains(ctx context.Context, where string, arg any) ([]Domain, error) {
	rows, err := c.pool.Query(ctx, `SELECT d.domain, t.name, d.serves, d.verified_at, coalesce(d.verified_by, ''), d.token
		FROM tenantctl.domains d JOIN tenantctl.tenants t ON t.id = d.tenant_id WHERE `+where+` ORDER BY t.name, d.position, d.domain`, arg)
	if err != nil {
		return nil, catalogError("read the domains", err)
	}
	all, err := pgx.CollectRows(rows, scanDomain)
	return all, catalogError("read the domains", err)
}

// Domains gives a tenant's domains in the order in which they were given.
func (s *Service) Domains(ctx context.Context, name Name) ([]Domain, error) {
	t, err := s.catalog.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.catalog.domains(ctx, "d.tenant_id = $1", t.ID)
}

// Domain gives one domain, whoever's it is.
func (s *Service) Domain(ctx context.Context, domain string) (Domain, error) {
	d, err := ParseWildcard(domain)
	if err != nil {
		return Domain{}, err
	}
	all, err := s.catalog.domains(ctx, "d.domain = $1", d)
	if err != nil {
		return Domain{}, err
	}
	if len(all) == 0 {
		return Domain{}, &Error{Kind: ErrNotFound, Msg: "no tenant has the domain " + d, Hint: "tenantctl domain add TENANT " + d}
	}
	return all[0], nil
}

// AddDomain gives a tenant a domain, or a domain that it has another use. What is so already is success.
func (s *Service) AddDomain(ctx context.Context, name Name, domain string, as Serves) (*Outcome, error) {
	t, d, change, err := s.PlanDomain(ctx, name, domain, as)
	if err != nil || !change {
		return &Outcome{Tenant: t}, err
	}
	return s.Set(ctx, name, Change{AddDomains: []string{d}, Serve: map[string]Serves{d: as}})
}

// PlanDomain tells whether AddDomain would change anything, and how the catalog spells the domain; it touches nothing.
func (s *Service) PlanDomain(ctx context.Context, name Name, domain string, as Serves) (t Tenant, d string, change bool, err error) {
	if d, err = ParseWildcard(domain); err != nil {
		return t, d, false, WithTenant(err, name)
	}
	have, err := s.Domains(ctx, name)
	if err != nil {
		return t, d, false, err
	}
	if t, err = s.PlanSet(ctx, name, Change{AddDomains: []string{d}, Serve: map[string]Serves{d: as}}); err != nil {
		return t, d, false, err
	}
	return t, d, !slices.ContainsFunc(have, func(h Domain) bool { return h.Domain == d && h.Serves == as }), nil
}

// checkServe refuses uses that a tenant's domains cannot have.
func (t Tenant) checkServe(serve map[string]Serves) error {
	for d, as := range serve {
		switch {
		case !slices.Contains(t.Domains, d):
			return &Error{Kind: ErrNotFound, Tenant: t.Name, Msg: "it has no domain " + d, Hint: "tenantctl domain list " + string(t.Name)}
		case as == ServesCanonical && strings.HasPrefix(d, "*."):
			return &Error{Kind: ErrInvalid, Tenant: t.Name, Msg: "a wildcard cannot be the canonical domain: " + d, Hint: "give one host name"}
		case as != ServesAnswer && as != ServesCanonical && as != ServesRedirect:
			return &Error{Kind: ErrInvalid, Tenant: t.Name, Msg: fmt.Sprintf("a domain cannot serve %q", as), Hint: "answer, canonical or redirect"}
		}
	}
	return nil
}

// LookupTXT gives the texts of a name's TXT records, as net.Resolver does.
type LookupTXT func(ctx context.Context, name string) ([]string, error)

// VerifyDomain looks for the record that proves that a domain is its tenant's, and lets it be served from then on. lookup is
// nil where that is to be assumed. Verified already is success.
func (s *Service) VerifyDomain(ctx context.Context, domain string, lookup LookupTXT) (Domain, *Outcome, error) {
	d, err := s.Domain(ctx, domain)
	if err != nil || d.Verified {
		return d, nil, err
	}
	by := VerifiedByAssumed
	if lookup != nil {
		by = VerifiedByDNS
		if err := d.prove(ctx, lookup); err != nil {
			return d, nil, err
		}
	}
	out, err := s.Set(ctx, d.Tenant, Change{Verify: map[string]string{d.Domain: by + " " + d.Record.Value}})
	if err != nil {
		return d, out, err
	}
	d, err = s.Domain(ctx, d.Domain)
	return d, out, err
}

// prove looks for the domain's record in the DNS.
func (d Domain) prove(ctx context.Context, lookup LookupTXT) error {
	found, err := lookup(ctx, d.Record.Name+".")
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		err = nil
	case err != nil:
		return &Error{Kind: ErrUnreachable, Tenant: d.Tenant, Store: "dns", Msg: "look for the TXT records of " + d.Record.Name + ": no answer", Hint: "try again, or name another server by --dns", Err: err}
	}
	if slices.ContainsFunc(found, func(text string) bool { return strings.TrimSpace(text) == d.Record.Value }) {
		return nil
	}
	what := "it has no TXT record"
	if len(found) > 0 {
		what = fmt.Sprintf("its %d TXT records are others", len(found))
	}
	return &Error{
		Kind: ErrDiffers, Code: "not_verified", Tenant: d.Tenant, Msg: fmt.Sprintf("domain %s is not verified: %s: %s", d.Domain, d.Record.Name, what),
		Hint: fmt.Sprintf("create this record and try again: %s. TXT \"%s\"", d.Record.Name, d.Record.Value),
	}
}

// serveDomains applies what a change says of domains that the tenant has.
func (c *Catalog) serveDomains(ctx context.Context, tx pgx.Tx, t Tenant, ch Change) error {
	for domain, as := range ch.Serve {
		if as == ServesCanonical { // a tenant has one
			if _, err := tx.Exec(ctx, `UPDATE tenantctl.domains SET serves = 'answer' WHERE tenant_id = $1 AND domain <> $2 AND serves = 'canonical'`, t.ID, domain); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `UPDATE tenantctl.domains SET serves = $3 WHERE tenant_id = $1 AND domain = $2 AND serves <> $3`, t.ID, domain, string(as)); err != nil {
			return err
		}
	}
	for domain, how := range ch.Verify {
		by, value, _ := strings.Cut(how, " ")
		tag, err := tx.Exec(ctx, `UPDATE tenantctl.domains SET verified_at = coalesce(verified_at, now()), verified_by = coalesce(verified_by, $3)
			WHERE tenant_id = $1 AND domain = $2 AND token = $4`, t.ID, domain, by, strings.TrimPrefix(value, "tenantctl-domain="))
		if err == nil && tag.RowsAffected() == 0 {
			err = &Error{Kind: ErrBusy, Tenant: t.Name, Msg: "domain " + domain + " was removed or given anew meanwhile", Hint: "run the same command again"}
		}
		if err != nil {
			return err
		}
	}
	var lost bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM tenantctl.domains WHERE tenant_id = $1 AND serves = 'redirect')
		AND NOT EXISTS (SELECT FROM tenantctl.domains WHERE tenant_id = $1 AND serves = 'canonical')`, t.ID).Scan(&lost); err != nil {
		return err
	}
	if lost {
		return &Error{
			Kind: ErrInvalid, Tenant: t.Name, Msg: "domains that redirect need a canonical domain to lead to",
			Hint: fmt.Sprintf("choose one: tenantctl domain add %s DOMAIN --canonical", t.Name),
		}
	}
	return nil
}
