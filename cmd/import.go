package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/legacy"
	"github.com/tenantctl/tenantctl/schema"
	"github.com/tenantctl/tenantctl/tenant"
)

func newImportCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Move legacy shared-table data into tenants",
		Long: `Moves the rows of one old database, in which all customers share tables, into the schemas and databases of tenants:
by a mapping file that plan writes and a person reviews. docs/import.md leads through all of it.`,
		Example: "  tenantctl import plan --from postgres://app@old-db/app --key tenant_id --tenants-table companies > mapping.yaml\n" +
			"  tenantctl import run -f mapping.yaml\n  tenantctl import verify -f mapping.yaml",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(newImportPlanCmd(a), newImportRunCmd(a), newImportStatusCmd(a), newImportVerifyCmd(a), newImportSchemaCmd(a))
	return c
}

// importFlags are those of run and verify.
type importFlags struct {
	file    string
	tenants []string
	tables  []string
}

func (f *importFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.file, "file", "f", "", "the mapping `file`")
	c.Flags().StringSliceVar(&f.tenants, "tenant", nil, "only these `tenants`")
	c.Flags().StringSliceVar(&f.tables, "table", nil, "only these `tables`, by the names of their targets; mongodb/NAME for a collection")
	c.Flags().Int("parallel", 0, "work on `n` parts and tenants at once (default 8)")
}

// open reads the mapping and opens what it names.
func (f *importFlags) open(cmd *cobra.Command, a *app) (*legacy.Importer, *legacy.Mapping, *tenant.Service, error) {
	if f.file == "" {
		return nil, nil, nil, tenant.Invalid("add -f mapping.yaml; tenantctl import plan writes a first one", "%s needs a mapping", cmd.CommandPath())
	}
	m, err := legacy.Load(f.file)
	if err != nil {
		return nil, nil, nil, err
	}
	c, postgres, err := a.catalog(cmd.Context())
	if err != nil {
		return nil, nil, nil, err
	}
	if err := c.Require(cmd.Context()); err != nil {
		return nil, nil, nil, err
	}
	a.endImport = func() {}
	o := legacy.Options{Postgres: postgres.Pool(), Parallel: a.cfg.Fleet.Parallel, Events: a.importProgress()}
	resources := []tenant.Resource{postgres}
	mongodb, err := a.mongodb(cmd.Context())
	if err != nil {
		return nil, nil, nil, err
	}
	if mongodb != nil {
		resources = append(resources, mongodb)
		o.MongoDB = mongodb.Client()
	}
	o.Service = a.wire(c, resources)
	o.Model = func(ctx context.Context) (string, func(), error) { return a.model(ctx, o.Service, postgres) }
	i, err := legacy.Open(cmd.Context(), m, o)
	if err != nil {
		return nil, nil, nil, err
	}
	a.closers = append(a.closers, i.Close)
	return i, m, o.Service, nil
}

func (f *importFlags) request() legacy.RunRequest {
	return legacy.RunRequest{Tenants: names(f.tenants), Tables: f.tables}
}

// model is a schema with the tenants' model at its newest version: that of a tenant, or one made for the moment.
func (a *app) model(ctx context.Context, s *tenant.Service, postgres *schema.Resource) (string, func(), error) {
	var best tenant.Tenant
	for t, err := range s.List(ctx, tenant.Selection{States: []tenant.State{tenant.Active, tenant.Suspended}}) {
		if err != nil {
			return "", nil, err
		}
		if best.Schema == "" || t.Versions[tenant.KindPostgres] > best.Versions[tenant.KindPostgres] {
			best = t
		}
	}
	if best.Schema != "" {
		return best.Schema, func() {}, nil
	}
	return postgres.Scratch(ctx)
}

func newImportPlanCmd(a *app) *cobra.Command {
	var from, key, tenantsTable, out, name, schemaName string
	c := &cobra.Command{
		Use:   "plan --from URL --key COLUMN",
		Short: "Look at a legacy database and write a first mapping",
		Long: `Looks at the tables of a legacy database and at the tenants' model as migrated, and writes a first mapping: which
tables have the tenant's key, which reach it through foreign keys, which are shared, and column by column what fits.
What a person has to decide or look at is a comment in the file and a line of the summary on stderr.

The mapping names the environment variable TENANTCTL_IMPORT_URL for the source, so that no password is in the file;
--from is only used now.

` + exitHelp,
		Example: `  tenantctl import plan --from postgres://app@old-db/app --key tenant_id --tenants-table companies --out mapping.yaml
  tenantctl import plan --from mysql://app:secret@old-db:3306/app --key account_id
  tenantctl import plan --from ./export --key customer`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runImportPlan(cmd, a, legacy.PlanRequest{From: from, Key: key, TenantsTable: tenantsTable, Name: name, Schema: schemaName}, out)
		},
	}
	c.Annotations = map[string]string{outputFormats: "yaml"}
	c.Flags().StringVar(&from, "from", "", "the `URL` of the database (postgres://, mysql://, mongodb://), or a folder of CSV or NDJSON files")
	c.Flags().StringVar(&key, "key", "", "the `column` that says whose a row is")
	c.Flags().StringVar(&tenantsTable, "tenants-table", "", "the `table` or file with one row a tenant")
	c.Flags().StringVar(&out, "out", "", "write the mapping to this `file`, which must not exist, instead of stdout")
	c.Flags().StringVar(&name, "name", "legacy", "the import's `name` in the catalog")
	c.Flags().StringVar(&schemaName, "schema", "", "the PostgreSQL `schema` of the legacy tables (default public)")
	return c
}

func runImportPlan(cmd *cobra.Command, a *app, req legacy.PlanRequest, out string) error {
	if req.From == "" || req.Key == "" && req.TenantsTable == "" {
		return tenant.Invalid("such as: tenantctl import plan --from postgres://app@old-db/app --key tenant_id", "--from and one of --key and --tenants-table are needed")
	}
	c, postgres, err := a.catalog(cmd.Context())
	if err != nil {
		return err
	}
	if err := c.Require(cmd.Context()); err != nil {
		return err
	}
	s := a.wire(c, nil)
	o := legacy.Options{Service: s, Postgres: postgres.Pool(), Model: func(ctx context.Context) (string, func(), error) { return a.model(ctx, s, postgres) }}
	planned, err := legacy.MakePlan(cmd.Context(), req, o)
	if err != nil {
		return err
	}
	if out == "" {
		if _, err := a.out.Write(planned.YAML); err != nil {
			return writing(err)
		}
	} else if err := writeNew(out, planned.YAML, 0o644, "choose another --out"); err != nil {
		return err
	}
	fmt.Fprintf(a.errOut, "%s with the tenant's key, %d that reach it, %d shared to be chosen for\n", tenant.Plural(planned.Keyed, "table"), planned.Via, planned.Shared)
	for _, n := range planned.Notes {
		fmt.Fprintln(a.errOut, a.paint(yellow, "note:"), n)
	}
	if out != "" {
		fmt.Fprintf(a.errOut, "wrote %s; next: review it, set TENANTCTL_IMPORT_URL, and run: tenantctl import run -f %s --dry-run\n", out, out)
	}
	return nil
}

// writeNew writes a file that must not be there yet, whole or not at all.
func writeNew(path string, content []byte, mode os.FileMode, elsewhere string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return &tenant.Error{Kind: tenant.ErrExists, Msg: path + " exists already", Hint: "it may have been edited: " + elsewhere + ", or remove it"}
	}
	if err == nil {
		_, err = f.Write(content)
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path) // half a file would be read
		}
	}
	if err != nil {
		return tenant.Invalid(elsewhere, "write %s: %v", path, reasonOf(err))
	}
	return nil
}

// reasonOf is the system's word for what went wrong with a file, without the path.
func reasonOf(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

type importRunOptions struct {
	importFlags
	since, maxErrors, rejects, rejectsTo string
	deferIndexes                         string
	again, dryRun                        bool
	restart                              []string
}

func newImportRunCmd(a *app) *cobra.Command {
	var o importRunOptions
	c := &cobra.Command{
		Use:   "run -f MAPPING",
		Short: "Load the legacy rows into the tenants",
		Long: `Loads the rows of the mapping's sources into the tenants, creating tenants that are missing. Rows stream from one
snapshot of each source; each part of a table is loaded in one transaction with its checkpoint, so that the same
command goes on after any interruption, kill -9 included, without a row lost or doubled. What is loaded already is
not loaded again.

A row that does not fit is set aside with its reason, alone: see --max-errors and the rejects file. Exit 3 says that
there are some. --since tops up: it loads the rows whose since column is at least that, over those that are there;
a table without such a column is loaded whole, in the same way.

A table whose mapping was changed since it was loaded is refused until --restart names it.

` + exitHelp,
		Example: `  tenantctl import run -f mapping.yaml --dry-run
  tenantctl import run -f mapping.yaml
  tenantctl import run -f mapping.yaml --tenant acme --table orders
  tenantctl import run -f mapping.yaml --since 2026-11-01
  tenantctl import run -f mapping.yaml --restart orders
  tenantctl import run -f mapping.yaml --rejects legacy.rejects.ndjson`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runImport(cmd, a, &o) },
	}
	o.add(c)
	c.Flags().StringVar(&o.since, "since", "", "only rows whose since column is at least this `value`; they overwrite what is there")
	c.Flags().StringVar(&o.maxErrors, "max-errors", "1000", "stop after more rejects than `N|P%`")
	c.Flags().StringVar(&o.rejects, "rejects", "", "load the corrected rows of this rejects `file`, and nothing else")
	c.Flags().StringVar(&o.rejectsTo, "rejects-to", "", "write the rows that were set aside to this `file` (default NAME.rejects.ndjson)")
	c.Flags().StringVar(&o.deferIndexes, "defer-indexes", legacy.DeferNever,
		"drop the secondary indexes of tables that start empty, and rebuild them after their load, `when`: never, always, or auto, which does so where a tenant has many rows")
	c.Flags().Lookup("defer-indexes").NoOptDefVal = legacy.DeferAuto
	c.Flags().BoolVar(&o.again, "again", false, "load also what is loaded already, for tables of mode upsert or replace")
	c.Flags().StringSliceVar(&o.restart, "restart", nil, "empty these `tables` of what this import loaded there, in the tenants it loaded, and load them again")
	addDryRun(c, &o.dryRun)
	return c
}

func runImport(cmd *cobra.Command, a *app, o *importRunOptions) error {
	req := o.request()
	req.Since, req.DeferIndexes, req.Again, req.DryRun = o.since, o.deferIndexes, o.again, o.dryRun
	req.Restart = o.restart
	if err := legacy.CheckDeferral(o.deferIndexes); err != nil {
		return err
	}
	var err error
	if req.MaxErrors, err = legacy.ParseLimit(o.maxErrors); err != nil {
		return err
	}
	if o.rejects != "" {
		if o.since != "" || o.again || len(o.tables) > 0 || o.dryRun || len(o.restart) > 0 {
			return tenant.Invalid("the file says which rows are loaded", "--rejects cannot be used together with --since, --again, --restart, --table or --dry-run")
		}
		if req.Rejects, err = os.ReadFile(o.rejects); err != nil {
			return tenant.Invalid("the import names the file that it wrote", "read %s: %v", o.rejects, reasonOf(err))
		}
	}
	if o.since != "" && len(o.restart) > 0 {
		return tenant.Invalid("restart the tables first, and top them up by another run", "--restart cannot be used together with --since")
	}
	i, m, s, err := o.open(cmd, a)
	if err != nil {
		return err
	}
	if !o.dryRun {
		if err := a.guard("this would load rows into tenants"); err != nil {
			return err
		}
	}
	report, err := i.Run(cmd.Context(), req)
	a.endImport()
	if errors.Is(err, tenant.ErrInterrupted) || err != nil && cmd.Context().Err() != nil {
		return &tenant.Error{
			Kind: tenant.ErrInterrupted, Msg: "the import " + m.Name + " was interrupted; what was loaded is kept", Err: err,
			Hint: "the same command goes on: tenantctl import run -f " + o.file + "; how far it is: tenantctl import status -f " + o.file,
		}
	}
	if report == nil {
		return err
	}
	if !o.dryRun {
		if werr := writeRejects(cmd.Context(), s, m, o, report); werr != nil && err == nil {
			err = werr
		}
	}
	if err != nil && !errors.Is(err, tenant.ErrPartial) {
		return err
	}
	perr := a.printReport(report, report.Import, func(w io.Writer) { a.importReport(w, report, false) })
	var e *tenant.Error
	if errors.As(err, &e) && e.Code == legacy.CodeRejects && report.Rejects != "" {
		named := *e
		named.Hint = fmt.Sprintf("correct them in %s, and load them with: tenantctl import run -f %s --rejects %s", report.Rejects, o.file, report.Rejects)
		err = &named
	}
	return errors.Join(perr, err)
}

// writeRejects writes the rejects that there are to their file; never over the file that was just read.
func writeRejects(ctx context.Context, s *tenant.Service, m *legacy.Mapping, o *importRunOptions, report *legacy.Report) error {
	name, path := m.Name, o.rejectsTo
	if path == "" {
		path = name + ".rejects.ndjson"
		if o.rejects != "" && filepath.Clean(o.rejects) == path {
			path = name + ".rejects.left.ndjson"
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return tenant.Invalid("choose another file with --rejects-to; the rejects are kept in the catalog", "write %s: %v", path, reasonOf(err))
	}
	n, err := legacy.WriteRejects(context.WithoutCancel(ctx), s, m, f)
	err = errors.Join(err, f.Close())
	if err == nil && n > 0 {
		err = os.Rename(f.Name(), path)
		report.Rejects = path
	}
	if err != nil || n == 0 {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// importReport prints a run or a verification for a person.
func (a *app) importReport(w io.Writer, r *legacy.Report, verified bool) {
	for _, n := range r.Notes {
		fmt.Fprintln(a.errOut, a.paint(yellow, "note:"), n)
	}
	t := a.table(w)
	columns := []string{"table", "tenants", "source", "loaded", "rejected"}
	if verified {
		columns = append(columns, "checksums")
	}
	t.AppendHeader(header(columns))
	line := func(name string, tenants any, c legacy.Counts) {
		row := table.Row{name, tenants, c.Source, c.Loaded, c.Rejected}
		if r.State == "planned" {
			row[3] = ""
		}
		if verified && c.Match != nil {
			same := a.paint(green, "the same")
			if !*c.Match {
				same = a.paint(red, "differ")
			}
			row = append(row, same)
		}
		t.AppendRow(row)
	}
	for _, one := range r.Tables {
		tenants := 0
		for _, x := range one.Tenants {
			if x.Tenant != "" && (x.Source > 0 || x.Loaded > 0) {
				tenants++
			}
		}
		line(one.Table, tenants, one.Counts)
	}
	line("total", "", r.Totals)
	t.Render()
	for _, one := range r.Tables {
		for _, d := range one.Differences {
			fmt.Fprintf(w, "%s %s: %s\n", a.paint(red, "differs:"), one.Table, d)
		}
	}
	created := ""
	if r.Created > 0 {
		created = fmt.Sprintf(", %s created", tenant.Plural(r.Created, "tenant"))
	}
	switch {
	case r.State == "planned":
		fmt.Fprintf(w, "would load %s%s\n", tenant.Plural(int(r.Totals.Source-r.Totals.Rejected), "row"), strings.Replace(created, "created", "to be created", 1))
	case verified && r.State == "done":
		fmt.Fprintf(w, "%s: every row of the source is in its tenant or among the rejects (%s)\n", a.paint(green, "verified"), millis(r.DurationMS))
	case !verified:
		state := a.paint(green, r.State)
		if r.State != "done" {
			state = a.paint(yellow, r.State)
		}
		fmt.Fprintf(w, "%s: %s loaded, %d rejected%s in %s\n", state, tenant.Plural(int(r.Totals.Loaded), "row"), r.Totals.Rejected, created, millis(r.DurationMS))
	}
	if r.Rejects != "" {
		fmt.Fprintf(w, "rejects: %s\n", r.Rejects)
	}
}

func newImportVerifyCmd(a *app) *cobra.Command {
	var f importFlags
	c := &cobra.Command{
		Use:   "verify -f MAPPING",
		Short: "Prove that every legacy row is in its tenant, or among the rejects",
		Long: `Compares the mapping's sources with the tenants, on the mapped columns: counts and checksums per table and tenant,
computed inside both databases. It needs nothing of the run but the mapping and the catalog, and works days later.
Exit 6 names the first rows that differ.

` + exitHelp,
		Example: "  tenantctl import verify -f mapping.yaml\n  tenantctl import verify -f mapping.yaml --tenant acme -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, _, _, err := f.open(cmd, a)
			if err != nil {
				return err
			}
			report, err := i.Verify(cmd.Context(), f.request())
			a.endImport()
			if report == nil {
				return err
			}
			perr := a.printReport(report, report.Import, func(w io.Writer) { a.importReport(w, report, true) })
			return errors.Join(perr, err)
		},
	}
	f.add(c)
	return c
}

type importStatus struct {
	Import    string    `json:"import"`
	State     string    `json:"state"`
	Run       string    `json:"run,omitempty"`
	UpdatedAt time.Time `json:"updated_at"`
	Loading   []string  `json:"loading"` // tables whose load is not over
	Loaded    int64     `json:"loaded_rows"`
	Rejected  int64     `json:"rejected_rows"`
	Owed      int       `json:"to_put_back"` // indexes, constraints and triggers

	Changes []legacy.Change `json:"mapping_changes,omitempty"` // since earlier runs; only where the mapping is given
}

func newImportStatusCmd(a *app) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:     "status",
		Short:   "Show how far imports are",
		Long:    "Shows the imports that the catalog knows: what is loaded, what was set aside, and what is not over.\n\n" + exitHelp,
		Example: "  tenantctl import status\n  tenantctl import status -f mapping.yaml",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runImportStatus(cmd, a, file) },
	}
	c.Flags().StringVarP(&file, "file", "f", "", "only the import of this mapping `file`")
	a.addListFlags(c)
	return c
}

func runImportStatus(cmd *cobra.Command, a *app, file string) error {
	name := ""
	var m *legacy.Mapping
	if file != "" {
		var err error
		if m, err = legacy.Load(file); err != nil {
			return err
		}
		name = m.Name
	}
	s, err := a.lookup(cmd.Context())
	if err != nil {
		return err
	}
	found, err := s.Imports(cmd.Context(), name)
	if err != nil {
		return err
	}
	if name != "" && len(found) == 0 {
		return &tenant.Error{Kind: tenant.ErrNotFound, Msg: "no import " + name + " has been run", Hint: "tenantctl import run -f " + file}
	}
	l := a.newList("import", "state", "loaded", "rejected", "age", "not over")
	for _, f := range found {
		st := importStatus{Import: f.Name, State: "loaded", UpdatedAt: f.Updated, Loading: []string{}, Owed: f.Owed}
		if m != nil {
			if st.Changes, err = legacy.Changes(cmd.Context(), s, m); err != nil {
				return err
			}
		}
		for _, c := range st.Changes {
			fmt.Fprintln(a.errOut, a.paint(yellow, "note:"), c)
		}
		for _, p := range f.Passes {
			if slices.ContainsFunc(st.Changes, func(c legacy.Change) bool { return c.Table == p.Target && c.Gone() }) {
				continue // the mapping does not load it any more
			}
			st.Loading = append(st.Loading, p.Target)
			st.State = "interrupted"
		}
		if f.Run != nil {
			st.Run = f.Run.ID.String()
			if f.Run.State.Live() && !f.Run.Interrupted {
				st.State = "running"
			}
		}
		loads, err := s.ImportLoads(cmd.Context(), f.Name)
		if err != nil {
			return err
		}
		for _, x := range loads {
			st.Loaded += x.Loaded
			st.Rejected += x.Rejected
		}
		if st.Owed > 0 && st.State != "running" {
			fmt.Fprintf(a.errOut, "%s import %s: indexes, foreign keys and triggers that it took away are still to be put back (%d): run it again to its end\n", a.paint(yellow, "note:"), f.Name, st.Owed)
		}
		if err := l.add(st, st.Import, st.Import, st.State, st.Loaded, st.Rejected, ageOf(st.UpdatedAt), strings.Join(st.Loading, ", ")); err != nil {
			return err
		}
	}
	return l.end("no imports")
}

func newImportSchemaCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of mapping files",
		Long:    "Prints the JSON Schema by which editors complete and check mapping files.\n\n" + exitHelp,
		Example: "  tenantctl import schema > mapping.schema.json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write(legacy.Schema)
			return writing(err)
		},
		Annotations: map[string]string{outputFormats: "json"},
	}
}
