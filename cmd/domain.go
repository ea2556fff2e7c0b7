package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newDomainCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "domain",
		Short:   "Add, verify, list and remove the domains of a tenant",
		Example: "  tenantctl domain add acme www.acme.example\n  tenantctl domain verify www.acme.example",
		Long: `A domain leads requests to its tenant once it is verified: once its owner has shown, by a TXT record, that it may.
docs/serving.md tells how requests find their tenant.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(newDomainAddCmd(a), newDomainVerifyCmd(a), newDomainRemoveCmd(a), newDomainListCmd(a))
	return c
}

func newDomainAddCmd(a *app) *cobra.Command {
	var canonical, redirect, dryRun bool
	c := &cobra.Command{
		Use:   "add TENANT DOMAIN",
		Short: "Add a domain to a tenant, or change what it is for",
		Long: `Adds a host name, or a wildcard such as *.acme.example for one label below it, and prints the TXT record that
verifies it. For a domain that the tenant has, it changes what that is for: --canonical makes it the one that domains with
--redirect lead to, neither makes it answer by itself.

` + exitHelp,
		Example: `  tenantctl domain add acme www.acme.example --canonical
  tenantctl domain add acme acme.example --redirect
  tenantctl domain add acme '*.acme.example'`,
		Args:              tenantAndDomain,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			as := tenant.ServesAnswer
			switch {
			case canonical && redirect:
				return tenant.Invalid("give one of the two", "--canonical and --redirect exclude each other")
			case canonical:
				as = tenant.ServesCanonical
			case redirect:
				as = tenant.ServesRedirect
			}
			return runDomainAdd(cmd.Context(), a, tenant.Name(args[0]), args[1], as, dryRun)
		},
	}
	c.Flags().BoolVar(&canonical, "canonical", false, "domains that redirect lead to this one")
	c.Flags().BoolVar(&redirect, "redirect", false, "send its requests to the canonical domain")
	addDryRun(c, &dryRun)
	return c
}

func runDomainAdd(ctx context.Context, a *app, name tenant.Name, domain string, as tenant.Serves, dryRun bool) error {
	s, err := a.lookup(ctx)
	if err != nil {
		return err
	}
	if dryRun {
		t, d, change, err := s.PlanDomain(ctx, name, domain, as)
		switch {
		case err != nil:
			return err
		case !change:
			return a.printOutcome(&tenant.Outcome{Tenant: t}, "")
		}
		return a.printPlan(t, "give %s the domain %s (%s)", t.Name, d, as)
	}
	out, err := s.AddDomain(ctx, name, domain, as)
	if err != nil {
		return err
	}
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return err
	}
	return a.printDomain(d, out)
}

// printDomain tells what has become of a domain; out is nil where nothing had to be done.
func (a *app) printDomain(d tenant.Domain, out *tenant.Outcome) error {
	if out != nil {
		a.warn(out.Warnings)
	}
	return a.print(d, d.Domain, func(w io.Writer) {
		how := "not verified"
		if d.Verified {
			how = "verified"
		}
		fmt.Fprintf(w, "%s: tenant %s, %s, %s\n", d.Domain, d.Tenant, d.Serves, how)
		if !d.Verified {
			fmt.Fprintf(w, "create this record, then run: tenantctl domain verify '%s'\n  %s. TXT \"%s\"\n", d.Domain, d.Record.Name, d.Record.Value)
		}
	})
}

func newDomainVerifyCmd(a *app) *cobra.Command {
	var assume, dryRun bool
	var server string
	c := &cobra.Command{
		Use:   "verify DOMAIN...",
		Short: "Look for the TXT record that proves that a domain is its tenant's",
		Long: `Looks for the record that domain add has printed, at _tenantctl.DOMAIN. Where it is there, the domain is served from
then on. --assume-verified takes your word for it: whoever controls a domain that is served for a tenant controls what its
visitors see.

` + exitHelp,
		Example: `  tenantctl domain verify www.acme.example
  tenantctl domain verify acme.example --dns 9.9.9.9:53
  tenantctl domain verify acme.example.com --assume-verified`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return tenant.Invalid("usage: "+cmd.UseLine(), "%s takes domains", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			lookup := lookupTXT(server)
			switch {
			case assume && server != "":
				return tenant.Invalid("give one of the two", "--assume-verified and --dns exclude each other")
			case assume:
				lookup = nil
			}
			return runDomainVerify(cmd.Context(), a, args, lookup, dryRun)
		},
	}
	c.Flags().BoolVar(&assume, "assume-verified", false, "look for no record")
	c.Flags().StringVar(&server, "dns", "", "ask the DNS server at this `address` (default: as the system does)")
	addDryRun(c, &dryRun)
	return c
}

func runDomainVerify(ctx context.Context, a *app, domains []string, lookup tenant.LookupTXT, dryRun bool) error {
	s, err := a.lookup(ctx)
	if err != nil {
		return err
	}
	l := a.newList("domain", "tenant", "serves", "verified", "record")
	var failed error
	for _, domain := range domains {
		var d tenant.Domain
		if dryRun {
			d, err = s.Domain(ctx, domain)
		} else {
			d, _, err = s.VerifyDomain(ctx, domain, lookup)
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if err := a.addDomain(l, d); err != nil {
			return err
		}
	}
	if err := l.end("no domain was verified"); err != nil {
		return err
	}
	return failed
}

// lookupTXT asks the DNS: the system's servers, or the one given.
func lookupTXT(server string) tenant.LookupTXT {
	r := net.DefaultResolver
	if server != "" {
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(server, "53")
		}
		r = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server)
		}}
	}
	return r.LookupTXT
}

func newDomainRemoveCmd(a *app) *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:               "remove TENANT DOMAIN",
		Short:             "Take a domain away from a tenant",
		Long:              "Its requests are answered with 404 from then on.\n\n" + exitHelp,
		Example:           "  tenantctl domain remove acme old.acme.example",
		Args:              tenantAndDomain,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.lookup(cmd.Context())
			if err != nil {
				return err
			}
			name, ch := tenant.Name(args[0]), tenant.Change{RemoveDomains: []string{args[1]}}
			if dryRun {
				t, err := s.PlanSet(cmd.Context(), name, ch)
				if err != nil {
					return err
				}
				return a.printPlan(t, "take the domain %s away from %s", args[1], t.Name)
			}
			out, err := s.Set(cmd.Context(), name, ch)
			if err != nil {
				return err
			}
			return a.printOutcome(out, "domain removed")
		},
	}
	addDryRun(c, &dryRun)
	return c
}

func newDomainListCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list TENANT",
		Short:             "List the domains of a tenant",
		Long:              "Lists a tenant's domains, what they are for, and the records that verify them.\n\n" + exitHelp,
		Example:           "  tenantctl domain list acme",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.lookup(cmd.Context())
			if err != nil {
				return err
			}
			domains, err := s.Domains(cmd.Context(), tenant.Name(args[0]))
			if err != nil {
				return err
			}
			l := a.newList("domain", "tenant", "serves", "verified", "record")
			for _, d := range domains {
				if err := a.addDomain(l, d); err != nil {
					return err
				}
			}
			return l.end("no domains")
		},
	}
}

func (a *app) addDomain(l *list, d tenant.Domain) error {
	verified := "no"
	if d.Verified {
		verified = d.VerifiedBy
	}
	return l.add(d, d.Domain, d.Domain, d.Tenant, d.Serves, verified, d.Record.Name+". TXT \""+d.Record.Value+"\"")
}

func tenantAndDomain(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return tenant.Invalid("usage: "+cmd.UseLine(), "%s takes a tenant's name and a domain, %d given", cmd.CommandPath(), len(args))
	}
	return nil
}
