package cmd

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/tenant"
)

type adoptOptions struct {
	place     tenant.Listed
	labels    []string
	source    tenant.Source
	roles     bool
	noDomains bool
	version   string
	dryRun    bool
	run       runFlags
}

func newAdoptCmd(a *app) *cobra.Command {
	var o adoptOptions
	c := &cobra.Command{
		Use:   "adopt NAME --schema SCHEMA | --from SOURCE [SQL|PATTERN]",
		Short: "Take schemas and databases that another tool has made into the catalog",
		Long: `Makes tenants of what is there already, and touches no data: the catalog keeps the exact names of schema and database, and
a mark before the schema's comment and in a document of the database says whose they are. Owners and rights stay, so that
the other tool keeps working beside. What is a tenant already stays as it is: the same command again changes nothing. With
--roles, tenants that were adopted without a role get one.
Look at --dry-run first: it tells of each place whether it would be taken, and why not.

--from lists many: django-tenants reads its tables of tenants and domains in public, known by their columns; apartment
takes the schemas that hold Rails's schema_migrations, or the names in --tenants-table and --tenants-column; migrator
reads migrator.migrator_tenants; query takes a SELECT of name, schema and, if wanted, database and domain; pattern takes
schemas by their names, with one % for the tenant's. A name is made a tenant's by lower case and '-' for all that is no
letter or digit. What cannot be taken is refused, each with its reason, and the others go on (exit 3).

A schema with goose's version table is at the version that it tells. Else --version V marks the migrations up to V as
applied, --version history reads V in the other tool's own table, --version auto finds V by the structure, and without
any of them migrate refuses the tenant until tenantctl migrate baseline. With MongoDB, a tenant without a database gets
an empty one.

Histories are those of Django (its app and name are the file's name after the number: 00012_shop_0003_price.sql), Rails,
dbmate, golang-migrate and migrator (the number there is the file's). Each file up to the newest that is named has to be
named, and nothing newer than the first that no file here answers to; else the tenant is refused.

` + exitHelp,
		Example: `  tenantctl adopt acme --schema customer_17 --database acme_docs --domain acme.example.com --version 12
  tenantctl adopt --from django-tenants --dry-run
  tenantctl adopt --from django-tenants --label origin=django --version history
  tenantctl adopt --from apartment --tenants-table accounts --tenants-column subdomain
  tenantctl adopt --from pattern 'tenant_%' --version auto
  tenantctl adopt --from query 'SELECT slug, schema_name, NULL, host FROM public.customers'`,
		RunE: func(cmd *cobra.Command, args []string) error { return runAdopt(cmd, a, o, args) },
	}
	f := c.Flags()
	f.StringVar(&o.place.Schema, "schema", "", "the tenant's `schema`")
	f.StringVar(&o.place.Database, "database", "", "the tenant's `database` in MongoDB (default: an empty one is made)")
	f.StringArrayVar(&o.place.Domains, "domain", nil, "a `domain` of the tenant (repeatable)")
	f.StringArrayVar(&o.labels, "label", nil, "a label for each tenant, as `key=value` (repeatable)")
	f.StringVar(&o.source.From, "from", "", "adopt what this `source` lists: "+strings.Join(tenant.Sources(), ", "))
	f.StringVar(&o.source.TenantsTable, "tenants-table", "", "the `table` that lists the tenants (django-tenants, apartment)")
	f.StringVar(&o.source.TenantsColumn, "tenants-column", "", "the `column` of that table that holds the schemas' names (apartment)")
	f.StringVar(&o.source.DomainsTable, "domains-table", "", "the `table` that lists the domains (django-tenants)")
	f.BoolVar(&o.noDomains, "no-domains", false, "leave out the domains that the source lists")
	f.BoolVar(&o.roles, "roles", false, "make a role for each tenant that has none, and a user in MongoDB, as tenantctl create does")
	f.StringVar(&o.version, "version", "", "mark PostgreSQL's migrations up to this `version` as applied; history reads it in the other tool's table, auto finds it by the structure")
	addDryRun(c, &o.dryRun)
	o.run.add(c)
	return c
}

// request reads what is asked for.
func (o adoptOptions) request(args []string) (tenant.AdoptRequest, error) {
	req := tenant.AdoptRequest{Roles: o.roles, NoDomains: o.noDomains}
	from := o.source.From
	given := o.place.Schema != "" || o.place.Database != "" || len(o.place.Domains) > 0
	switch {
	case o.run.resume != "" && (len(args) > 0 || from != "" || given || len(o.labels) > 0 || o.roles || o.noDomains || o.version != ""):
		return req, tenant.Invalid("the run knows what to adopt, and how", "--resume takes no name and no other flag of what is adopted")
	case o.run.resume != "" && o.dryRun:
		return req, tenant.Invalid("tenantctl ops show "+o.run.resume+" tells how it stands", "--resume and --dry-run exclude each other")
	case o.run.resume != "":
		return req, nil
	case from == "" && (len(args) != 1 || o.place.Schema == ""):
		return req, tenant.Invalid("or list many: --from "+strings.Join(tenant.Sources(), "|"), "adopt takes one name and its schema: tenantctl adopt NAME --schema SCHEMA")
	case from == "" && (o.source != tenant.Source{} || o.noDomains):
		return req, tenant.Invalid("add --from SOURCE", "the tables and domains of a source are given, and no source")
	case from != "" && !slices.Contains(tenant.Sources(), from):
		return req, tenant.Invalid("the sources are "+strings.Join(tenant.Sources(), ", "), "there is no source %q", from)
	case from != "" && given:
		return req, tenant.Invalid("adopt one by its name: tenantctl adopt NAME --schema SCHEMA", "--from takes no --schema, --database or --domain")
	}
	takes := from == tenant.FromQuery || from == tenant.FromPattern
	switch {
	case takes && len(args) != 1:
		return req, tenant.Invalid("in quotes, so that it is one word: tenantctl adopt --from "+from+" '...'", "--from %s takes one argument, and %d are given", from, len(args))
	case from != "" && !takes && len(args) > 0:
		return req, tenant.Invalid("leave the name out: the source lists them", "--from %s takes no name", from)
	case o.source.DomainsTable != "" && from != tenant.FromDjango:
		return req, tenant.Invalid("leave it out", "--domains-table is for --from %s", tenant.FromDjango)
	case o.source.TenantsTable != "" && from != tenant.FromDjango && from != tenant.FromApartment:
		return req, tenant.Invalid("leave it out", "--tenants-table is for --from %s and %s", tenant.FromDjango, tenant.FromApartment)
	case from == tenant.FromApartment && (o.source.TenantsTable == "") != (o.source.TenantsColumn == ""):
		return req, tenant.Invalid("give both, or neither", "--tenants-table and --tenants-column belong together")
	case o.source.TenantsColumn != "" && from != tenant.FromApartment:
		return req, tenant.Invalid("leave it out", "--tenants-column is for --from %s", tenant.FromApartment)
	}
	var err error
	if req.Labels, err = tenant.ParseLabels(o.labels); err != nil {
		return req, err
	}
	switch {
	case o.version == "auto":
		req.Recognise = true
	case o.version == "history":
		req.Recorded = true
	case o.version != "":
		v, err := strconv.ParseInt(o.version, 10, 64)
		if err != nil || v < 0 {
			return req, tenant.Invalid("write a number, history or auto", "there is no version %q", o.version)
		}
		req.Version = &v
	}
	if from == "" {
		req.One = &o.place
		req.One.Name = args[0]
		return req, nil
	}
	req.Source = &o.source
	if takes {
		req.Source.Query, req.Source.Pattern = args[0], args[0]
	}
	return req, nil
}

func runAdopt(cmd *cobra.Command, a *app, o adoptOptions, args []string) error {
	req, err := o.request(args)
	if err != nil {
		return err
	}
	opts, err := o.run.options(cmd, a)
	if err != nil {
		return err
	}
	if o.roles && a.cfg.Postgres.Roles != config.RolesPerTenant {
		return tenant.Invalid("set it to per-tenant, or leave --roles out", "postgres.roles is %s, and --roles would make some", a.cfg.Postgres.Roles)
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	if !o.dryRun {
		if req.Source != nil {
			if err := a.guard("this would adopt several tenants"); err != nil {
				return err
			}
		}
		r, err := s.Adopt(cmd.Context(), req, opts)
		if err != nil {
			return err
		}
		return a.finishRun(cmd, s, &o.run, r)
	}
	p, err := s.PlanAdopt(cmd.Context(), req)
	if err != nil {
		return err
	}
	var names []string
	for _, x := range append(p.In(tenant.AdoptNew), p.In(tenant.AdoptRole)...) {
		names = append(names, string(x.Name))
	}
	if err := a.printReport(p, strings.Join(names, "\n"), func(w io.Writer) { a.adoptPlan(w, p) }); err != nil {
		return err
	}
	return p.Err()
}

func (a *app) adoptPlan(w io.Writer, p *tenant.AdoptPlan) {
	t := a.wrapped(w)
	between := ","
	if terminalWidth(w) > 0 {
		between = "\n"
	}
	t.AppendHeader(header([]string{"schema", "tenant", "database", "domains", "version", "would be"}))
	for _, x := range p.Places {
		version := ""
		switch {
		case x.Booked:
			version = "(its own)"
		case x.Version != nil:
			version = fmt.Sprint(*x.Version)
		}
		state := "adopted"
		if x.History != "" {
			state += ", as " + x.History + " says"
		}
		if x.Rest > 0 {
			state += fmt.Sprintf(" (of its entries, %d are of no file here)", x.Rest)
		}
		switch x.State {
		case tenant.AdoptRefused:
			state = a.paint(red, "refused: ") + x.Reason
		case tenant.AdoptRole:
			state = "given role " + x.Role
		case tenant.AdoptLeftOut, tenant.AdoptUnchanged:
			state = strings.ReplaceAll(x.State, "_", " ") + ": " + x.Reason
		}
		t.AppendRow(table.Row{x.Schema, cmp.Or(string(x.Name), "(none)"), x.Database, strings.Join(x.Domains, between), version, state})
	}
	t.Render()
	if len(p.Places) == 0 {
		fmt.Fprintln(w, "the source lists nothing")
	}
}

// notAdopted lists what an adoption has not taken, and why.
func (a *app) notAdopted(w io.Writer, what string, places []tenant.AdoptPlace) {
	if len(places) == 0 {
		return
	}
	t := a.wrapped(w)
	t.AppendHeader(header([]string{what, "schema", "why"}))
	for _, x := range places {
		t.AppendRow(table.Row{cmp.Or(string(x.Name), "(none)"), x.Schema, x.Reason})
	}
	t.Render()
}
