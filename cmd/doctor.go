package cmd

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/nosql"
	"github.com/tenantctl/tenantctl/schema"
	"github.com/tenantctl/tenantctl/tenant"
)

func newDoctorCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the servers, rights, versions and limits",
		Long: `Tells whether the servers can be reached, with which rights, versions and limits, whether the catalog is there and
the migrations can be read; and for what would break, the way out. Nothing is changed. Exits 6 if there is an error.

` + exitHelp,
		Example: "  tenantctl doctor\n  tenantctl doctor -o json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd, a) },
	}
}

func runDoctor(cmd *cobra.Command, a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if err := cfg.RequireStores(); err != nil {
		return err
	}
	checks := diagnose(cmd.Context(), a, cfg)
	l := a.newList("status", "store", "check", "message").wrapped()
	faults := 0
	for _, c := range checks {
		status := a.paint(green, c.Status)
		switch c.Status {
		case "warning":
			status = a.paint(yellow, c.Status)
		case "error":
			status = a.paint(red, c.Status)
			faults++
		}
		message := c.Message
		if c.Hint != "" {
			message += "\n→ " + c.Hint
		}
		if err := l.add(c, c.Store+"/"+c.Name, status, c.Store, c.Name, message); err != nil {
			return err
		}
	}
	if err := l.end(""); err != nil {
		return err
	}
	if faults > 0 {
		return &tenant.Error{Kind: tenant.ErrDiffers, Code: "doctor", Msg: tenant.Plural(faults, "check") + " failed"}
	}
	return nil
}

// diagnose asks every store, whatever the others answer.
func diagnose(ctx context.Context, a *app, cfg *config.Config) []tenant.Check {
	var checks []tenant.Check
	add := func(store, name string, err error, good string) {
		c := tenant.Check{Store: store, Name: name, Status: "ok", Message: good}
		if err != nil {
			c.Status, c.Message = "error", strings.TrimPrefix(err.Error(), store+": ")
			var e *tenant.Error
			if errors.As(err, &e) {
				c.Hint = e.Hint
			}
		}
		checks = append(checks, c)
	}
	catalog, postgres, err := a.catalog(ctx)
	if err != nil {
		add(tenant.KindPostgres, "connection", err, "")
		postgres = schema.New(nil, schemaConfig(cfg))
	} else {
		checks = append(checks, postgres.Doctor(ctx)...)
		add("catalog", "version", catalog.Require(ctx), "is at this program's version")
	}
	_, err = postgres.Files(ctx)
	whence := "can be read in " + cfg.Migrations.Postgres
	if cfg.Migrations.Engine == config.EngineExec {
		whence = "are run by migrations.command"
	}
	add(tenant.KindPostgres, "migrations", err, whence)
	if !cfg.NoSQL.Enabled {
		return checks
	}
	mongodb, err := a.mongodb(ctx)
	if err != nil {
		add(tenant.KindMongoDB, "connection", err, "")
		mongodb = nosql.New(nil, nosqlConfig(cfg))
	} else {
		checks = append(checks, mongodb.Doctor(ctx)...)
	}
	_, err = mongodb.Files(ctx)
	add(tenant.KindMongoDB, "migrations", err, "can be read in "+cfg.Migrations.MongoDB)
	return checks
}
