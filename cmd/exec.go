package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type execOptions struct {
	selection selectionFlags
	file      string
	mongodb   bool
	dryRun    bool
}

func newExecCmd(a *app) *cobra.Command {
	var o execOptions
	c := &cobra.Command{
		Use:   "exec [NAME...] -- STATEMENT",
		Short: "Run one SQL statement or MongoDB command in many tenants",
		Long: `Runs one SQL statement in the schema of each selected tenant, each in a transaction of its own, and prints the rows with
the tenant's name. Statements are recorded in the audit without their values.

--mongodb runs one MongoDB command, in Extended JSON, in the database of each. Commands that reach beyond one database,
drop it or manage users are refused before any tenant is touched. There is no transaction around a command: one that fails
keeps what it did. maxTimeMS in the command limits its time.

` + exitHelp,
		Example: `  tenantctl exec --all -- 'select count(*) from orders'
  tenantctl exec acme globex -- "update settings set theme = 'dark'"
  tenantctl exec --selector plan=pro -o json -- 'select * from settings'
  tenantctl exec --all --mongodb -- '{"count": "orders", "query": {"state": "open"}}'
  tenantctl exec acme --mongodb --file find-open-orders.json`,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runExec(cmd, a, o, args) },
	}
	o.selection.add(c)
	c.Flags().BoolVar(&o.mongodb, "mongodb", false, "run a MongoDB command in Extended JSON instead of SQL")
	c.Flags().StringVar(&o.file, "file", "", "read the statement from this `file`")
	addFanOut(c)
	addDryRun(c, &o.dryRun)
	return c
}

// statement gives the names and the one statement that was given after -- or in a file.
func (o execOptions) statement(dash int, args []string) (names []string, statement string, err error) {
	usage := "usage: tenantctl exec [NAME...] -- 'select ...', or --file FILE"
	if o.file == "" {
		if dash < 0 || len(args)-dash != 1 || strings.TrimSpace(args[dash]) == "" {
			return nil, "", tenant.Invalid(usage, "exec takes one statement after --")
		}
		return args[:dash], args[dash], nil
	}
	if dash >= 0 {
		return nil, "", tenant.Invalid(usage, "exec takes the statement after -- or from --file, not both")
	}
	text, err := os.ReadFile(o.file)
	if err != nil {
		return nil, "", tenant.Invalid("", "read the statement: %v", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return nil, "", tenant.Invalid("", "%s holds no statement", o.file)
	}
	return args, string(text), nil
}

func (o execOptions) store() string {
	if o.mongodb {
		return tenant.KindMongoDB
	}
	return tenant.KindPostgres
}

func runExec(cmd *cobra.Command, a *app, o execOptions, args []string) error {
	names, statement, err := o.statement(cmd.ArgsLenAtDash(), args)
	if err != nil {
		return err
	}
	sel, err := o.selection.selection(names)
	if err != nil {
		return err
	}
	if sel.Empty() {
		return tenant.Invalid("give names, --all, --selector, --state or --shard", "exec does not guess which tenants are meant")
	}
	opts, err := a.fanOut()
	if err != nil {
		return err
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	if o.dryRun {
		if err := s.AdmitExec(o.store(), statement); err != nil {
			return err
		}
		return a.execTargets(cmd.Context(), s, sel, o)
	}
	sink := &execSink{a: a}
	r, err := s.Exec(cmd.Context(), tenant.ExecRequest{
		Selection: sel, Store: o.store(), Statement: statement, Parallel: opts.Parallel, MaxFailures: opts.MaxFailures,
	}, sink)
	a.progress.end()
	if err != nil {
		return err
	}
	if err := sink.end(); err != nil {
		return err
	}
	if a.format == formatTable && r.Summary.Tenants > 1 { // the fault of a single one is the command's error
		a.failures(a.errOut, r.Failures)
	}
	if cmd.Context().Err() != nil {
		return &tenant.Error{Kind: tenant.ErrInterrupted, Msg: fmt.Sprintf("interrupted: %d of %d tenants were not started", r.Summary.NotStarted, r.Summary.Tenants)}
	}
	return r.Err()
}

// execTargets lists where a statement would be run.
func (a *app) execTargets(ctx context.Context, s *tenant.Service, sel tenant.Selection, o execOptions) error {
	ts, err := s.Targets(ctx, sel)
	if err != nil {
		return err
	}
	column := "schema"
	if o.mongodb {
		column = "database"
	}
	l := a.newList("would run in", column)
	for _, t := range ts {
		place := t.Schema
		if o.mongodb {
			place = t.Database
		}
		if err := l.add(outcomeDoc{Tenant: t, DryRun: true}, string(t.Name), t.Name, place); err != nil {
			return err
		}
	}
	return l.end("no tenant is selected")
}

// execSink prints rows as they come, whatever their number: in a table by the page, in a document one by one.
type execSink struct {
	a       *app
	tenant  tenant.Name
	columns []string
	rows    []table.Row // of the table's page
	head    []string    // columns of the table
	headed  bool        // the table has its header
	count   int         // rows of this tenant
	tenants int
}

func (x *execSink) Tenant(name tenant.Name) error {
	x.tenant, x.columns, x.count = name, nil, 0
	x.tenants++
	if x.a.format != formatJSON && x.a.format != formatYAML {
		return nil
	}
	// One document of JSON, which is YAML too: every tenant is an entry with its rows.
	open := ",\n  "
	if x.tenants == 1 {
		open = "[\n  "
	}
	return x.write(open, `{"tenant": `, name, `, "rows": [`)
}

// write writes text as it is and everything else as JSON.
func (x *execSink) write(parts ...any) error {
	var out strings.Builder
	for _, p := range parts {
		if text, ok := p.(string); ok {
			out.WriteString(text)
			continue
		}
		b, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		out.Write(b)
	}
	_, err := io.WriteString(x.a.out, out.String())
	return writing(err)
}

func (x *execSink) Columns(names []string) error {
	if x.a.format == formatTable && !slices.Equal(names, x.head) {
		x.flush()
		x.head, x.headed = names, false
	}
	x.columns = names
	return nil
}

func (x *execSink) Row(values []any) error {
	x.count++
	switch x.a.format {
	case formatName:
		return nil
	case formatTable:
		cells := table.Row{x.tenant}
		for _, v := range values {
			cells = append(cells, cell(v))
		}
		if x.rows = append(x.rows, cells); len(x.rows) == pageRows {
			x.flush()
		}
		return nil
	}
	row := make(map[string]any, len(values))
	for i, v := range values {
		row[x.columns[i]] = v
	}
	sep := ","
	if x.count == 1 {
		sep = ""
	}
	return x.write(sep, "\n    ", row)
}

func (x *execSink) flush() {
	if len(x.rows) == 0 {
		return
	}
	t := x.a.table(x.a.out)
	if !x.headed {
		t.AppendHeader(header(append([]string{"tenant"}, x.head...)))
		x.headed = true
	}
	t.AppendRows(x.rows)
	t.Render()
	x.rows = x.rows[:0]
}

func (x *execSink) End(rows int64, err error) error {
	switch {
	case x.a.format == formatName && err == nil:
		return x.write(string(x.tenant), "\n")
	case x.a.format == formatTable && err == nil && len(x.columns) == 0:
		x.flush()
		return x.write(string(x.tenant), ": ", tenant.Plural(int(rows), "row"), "\n")
	case x.a.format == formatTable, x.a.format == formatName:
		return nil
	}
	if err != nil {
		return x.write(`], "rows_affected": `, rows, `, "error": `, tenant.NewFailure(err), "}")
	}
	return x.write(`], "rows_affected": `, rows, "}")
}

func (x *execSink) end() error {
	switch {
	case x.a.format == formatTable:
		x.flush()
	case x.a.format == formatName:
	case x.tenants == 0:
		return x.write("[]\n")
	default:
		return x.write("\n]\n")
	}
	return nil
}

// cell is a value in a table.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return inOneLine(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case json.RawMessage:
		return string(v)
	}
	return fmt.Sprint(v)
}
