package cmd

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type execOptions struct {
	selection selectionFlags
	file      string
	mongodb   bool
	statement tenant.Statement
	confirmFlags
}

func newExecCmd(a *app) *cobra.Command {
	var o execOptions
	c := &cobra.Command{
		Use:   "exec [NAME...] -- STATEMENT",
		Short: "Run one SQL statement or MongoDB command in many tenants",
		Long: `Runs one SQL statement in the schema of each selected tenant, as that tenant's role, in a transaction of its own that
only reads. The rows come in the tenants' order, with the number of each tenant's, and the total of all at the end.
The audit records the statement without its values.

--write lets it change rows; it asks first, unless --yes is given. A change of the structure belongs into a migration
and is refused: --ddl runs it all the same, with the rights of the schema's owner. --as-provisioner runs with the
rights of the role of postgres.url, which sees every tenant.

--mongodb runs one MongoDB command, in Extended JSON, in the database of each. Commands that reach beyond one database,
drop it or manage users are refused before any tenant is touched. There is no transaction around a command: one that fails
keeps what it did. maxTimeMS in the command limits its time. It runs as the user of nosql.url.

` + exitHelp,
		Example: `  tenantctl exec --all -- 'select count(*) from orders'
  tenantctl exec acme globex --write -- "update settings set theme = 'dark'"
  tenantctl exec --all -o csv -- 'select status, count(*) from orders group by 1' > orders.csv
  tenantctl exec --selector plan=pro -o json -- 'select * from settings'
  tenantctl exec --all --mongodb -- '{"count": "orders", "query": {"state": "open"}}'
  tenantctl exec acme --mongodb --file find-open-orders.json`,
		Annotations:       map[string]string{outputFormats: "table,csv,ndjson,json,yaml,name"},
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runExec(cmd, a, o, args) },
	}
	o.selection.add(c)
	c.Flags().BoolVar(&o.mongodb, "mongodb", false, "run a MongoDB command in Extended JSON instead of SQL")
	c.Flags().StringVar(&o.file, "file", "", "read the statement from this `file`")
	c.Flags().BoolVar(&o.statement.Write, "write", false, "let the statement change rows or documents; asks first")
	c.Flags().BoolVar(&o.statement.DDL, "ddl", false, "let it change the structure, too, which belongs into a migration; asks first")
	c.Flags().BoolVar(&o.statement.AsProvisioner, "as-provisioner", false, "run it as the role of postgres.url instead of the tenant's")
	addFanOut(c)
	o.add(c)
	return c
}

// given gives the names and the one statement that was given after -- or in a file.
func (o execOptions) given(dash int, args []string) (names []string, statement string, err error) {
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
	names, text, err := o.given(cmd.ArgsLenAtDash(), args)
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
	if o.mongodb && o.statement.AsProvisioner {
		return tenant.Invalid("leave it out: MongoDB's commands run as the user of nosql.url", "--as-provisioner goes with SQL")
	}
	opts, err := a.fanOut()
	if err != nil {
		return err
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	x := o.statement
	x.Text, x.Write = text, x.Write || x.DDL
	if err := s.AdmitExec(o.store(), x); err != nil {
		return err
	}
	if o.dryRun {
		return a.execTargets(cmd.Context(), s, sel, o)
	}
	switch {
	case x.Write && o.yes:
		err = a.guard("this may change what tenants hold")
	case x.Write:
		err = a.confirmExec(cmd.Context(), s, sel)
	}
	if err != nil {
		return err
	}
	sink := &execSink{a: a}
	r, err := s.Exec(cmd.Context(), tenant.ExecRequest{
		Selection: sel, Store: o.store(), Statement: x, Parallel: opts.Parallel, MaxFailures: opts.MaxFailures,
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

// confirmExec asks before a statement that may change something.
func (a *app) confirmExec(ctx context.Context, s *tenant.Service, sel tenant.Selection) error {
	ts, err := s.Targets(ctx, sel)
	if err != nil || len(ts) == 0 {
		return err
	}
	q := question{
		text:   fmt.Sprintf("This may change what tenant %s holds.", ts[0].Name),
		short:  "this may change what tenant " + string(ts[0].Name) + " holds",
		answer: string(ts[0].Name),
	}
	if len(ts) > 1 {
		some := some(namesOf(ts), len(ts))
		q.text = fmt.Sprintf("This may change what %d tenants hold: %s.", len(ts), some)
		q.short, q.answer = fmt.Sprintf("this may change what %d tenants hold", len(ts)), fmt.Sprint(len(ts))
	}
	return a.confirm(false, q)
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
