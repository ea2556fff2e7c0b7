package cmd

import (
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type createOptions struct {
	domains     []string
	labels      []string
	file        string
	cloneFrom   string
	ifNotExists bool
	dryRun      bool
	run         runFlags
}

func newCreateCmd(a *app) *cobra.Command {
	var o createOptions
	c := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create tenants in every store, at the newest version",
		Long: `Creates a schema and a role in PostgreSQL and a database and a user in MongoDB for each tenant, and applies
all migrations. A tenant is made whole or not at all: what fails is undone, and after a crash the same
command goes on where the dead one stopped. Tenants have no password until: tenantctl credentials NAME --rotate

--file takes many: CSV with a header (name, domains and labels, or one column per label as label.KEY;
several domains or labels are separated by ';'), YAML (a list) or NDJSON, with the fields name, domains, labels.

` + exitHelp,
		Example: `  tenantctl create acme --domain acme.example.com --label plan=pro
  tenantctl create acme globex initech --if-not-exists
  tenantctl create acme-test --clone-from acme
  tenantctl create --file tenants.csv --parallel 8`,
		RunE: func(cmd *cobra.Command, args []string) error { return runCreate(cmd, a, o, args) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.domains, "domain", nil, "a `domain` of the tenant (repeatable; one tenant only)")
	f.StringArrayVar(&o.labels, "label", nil, "a label, as `key=value` (repeatable)")
	f.StringVar(&o.file, "file", "", "create the tenants in this `file`: .csv, .yaml or .ndjson")
	f.StringVar(&o.cloneFrom, "clone-from", "", "make it as a copy of this `tenant`, as tenantctl clone does")
	f.BoolVar(&o.ifNotExists, "if-not-exists", false, "a tenant that is there already is a success")
	addDryRun(c, &o.dryRun)
	o.run.add(c)
	return c
}

func runCreate(cmd *cobra.Command, a *app, o createOptions, args []string) error {
	ctx := cmd.Context()
	reqs, many, err := o.requests(args)
	if err != nil {
		return err
	}
	opts, err := o.run.options(cmd, a)
	if err != nil {
		return err
	}
	s, err := a.service(ctx)
	if err != nil {
		return err
	}
	if o.dryRun && o.cloneFrom == "" {
		return runCreateDry(cmd, a, s, o, reqs, many)
	}
	if o.cloneFrom != "" {
		return runCreateClone(cmd, a, o, args)
	}
	if many {
		return runCreateMany(cmd, a, s, o, reqs, opts)
	}
	for req, err := range reqs {
		if err != nil {
			return err
		}
		out, err := s.Create(ctx, req, o.ifNotExists)
		if err != nil {
			return err
		}
		if err := a.printOutcome(out, "created"); err != nil {
			return err
		}
		if out.Operation != nil {
			a.say("  credentials: tenantctl credentials %s --rotate", out.Tenant.Name)
		}
	}
	return nil
}

// runCreateClone is clone by another name.
func runCreateClone(cmd *cobra.Command, a *app, o createOptions, args []string) error {
	if len(args) != 1 || o.ifNotExists {
		return tenant.Invalid("usage: tenantctl create NAME --clone-from TENANT", "--clone-from takes one name, and neither --file nor --if-not-exists")
	}
	return runClone(cmd, a, cloneOptions{domains: o.domains, labels: o.labels, dryRun: o.dryRun}, o.cloneFrom, args[0])
}

// requests gives what is to be made: from arguments or a file.
func (o createOptions) requests(args []string) (reqs iter.Seq2[tenant.CreateRequest, error], many bool, err error) {
	switch {
	case o.run.resume != "" && (len(args) > 0 || o.file != ""):
		return nil, false, tenant.Invalid("the run knows its tenants", "--resume takes no names and no file")
	case o.run.resume != "":
		return func(func(tenant.CreateRequest, error) bool) {}, true, nil
	case o.file != "" && (len(args) > 0 || len(o.domains) > 0 || len(o.labels) > 0):
		return nil, false, tenant.Invalid("write them into the file", "--file takes no names, no --domain and no --label")
	case o.file != "":
		reqs, err := readTenants(o.file)
		return reqs, true, err
	case len(args) == 0:
		return nil, false, tenant.Invalid("usage: tenantctl create NAME...", "create takes the names of tenants, or --file")
	case len(args) > 1 && len(o.domains) > 0:
		return nil, false, tenant.Invalid("use --file for many tenants with domains", "a domain belongs to one tenant, and %d are to be created", len(args))
	}
	labels, err := tenant.ParseLabels(o.labels)
	if err != nil {
		return nil, false, err
	}
	return func(yield func(tenant.CreateRequest, error) bool) {
		for _, name := range args {
			if !yield(tenant.CreateRequest{Name: name, Domains: o.domains, Labels: labels}, nil) {
				return
			}
		}
	}, len(args) > 1, nil
}

func runCreateDry(cmd *cobra.Command, a *app, s *tenant.Service, o createOptions, reqs iter.Seq2[tenant.CreateRequest, error], many bool) error {
	if o.run.resume != "" {
		d, err := s.Operation(cmd.Context(), o.run.resume)
		if err != nil {
			return err
		}
		return a.print(d, d.ID.String(), func(w io.Writer) {
			fmt.Fprintf(w, "would go on with run %s: %s\n", d.ID, pairs(stringKeys(d.Tenants)))
		})
	}
	ts, err := s.PlanCreate(cmd.Context(), reqs, o.ifNotExists)
	if err != nil {
		return err
	}
	if !many && len(ts) == 1 {
		t := ts[0]
		return a.printPlan(t, "create %s: schema %s, role %s, database %s%s", t.Name, t.Schema, t.Role, t.Database, withDomains(t.Domains))
	}
	l := a.newList("would create", "schema", "database", "role", "domains", "labels")
	for _, t := range ts {
		if err := l.add(outcomeDoc{Tenant: t, DryRun: true}, string(t.Name), t.Name, t.Schema, t.Database, t.Role, strings.Join(t.Domains, ","), pairs(t.Labels)); err != nil {
			return err
		}
	}
	return l.end("nothing to create: all are there")
}

func withDomains(d []string) string {
	if len(d) == 0 {
		return ""
	}
	return ", domains " + strings.Join(d, ", ")
}

func runCreateMany(cmd *cobra.Command, a *app, s *tenant.Service, o createOptions, reqs iter.Seq2[tenant.CreateRequest, error], opts tenant.RunOptions) error {
	l := a.newList()
	var printing error
	r, err := s.CreateMany(cmd.Context(), reqs, o.ifNotExists, opts, func(out tenant.Outcome) {
		a.warn(out.Warnings)
		if a.format == formatTable || out.Tenant.Name == "" || printing != nil {
			return // a person reads the summary
		}
		if out.Err == nil || a.format != formatName {
			printing = l.add(docOf(out), string(out.Tenant.Name))
		}
	})
	a.progress.end()
	if r != nil && a.format == formatTable {
		a.summary(a.out, r)
	} else if r != nil {
		if err := l.end(""); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if printing != nil {
		return printing
	}
	return a.outcome(cmd, s, &o.run, r)
}

func stringKeys[K ~string, V any](m map[K]V) map[string]V {
	out := make(map[string]V, len(m))
	for k, v := range m {
		out[string(k)] = v
	}
	return out
}
