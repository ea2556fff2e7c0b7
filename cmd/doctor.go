package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/nosql"
	"github.com/tenantctl/tenantctl/schema"
	"github.com/tenantctl/tenantctl/tenant"
)

func newDoctorCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check the servers, rights, versions and limits",
		Long: `Finds beforehand why other commands would fail here, each with the statement or setting that fixes it: servers that
cannot be reached or are replicas, rights that are missing or too many, versions, limits on connections, locks and open
files, time-outs that end what takes long, clocks that are apart, a pooler and the way past it, connections that can be
read along, pg_dump, the place of backups, migrations that cannot be read, the catalog, and operations that were
interrupted. With backup.max_age or --stale, active tenants without a backup that is fresh enough are an error too.
Nothing is changed. Exits 6 if there is an error; a warning hurts one day.

` + exitHelp,
		Example: "  tenantctl doctor\n  tenantctl doctor --stale 26h\n  tenantctl doctor -o json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd, a) },
	}
	c.Flags().String("stale", "", "active tenants without a backup that is younger than this `duration` are an error (default backup.max_age)")
	return c
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
	put := func(store, name, otherwise string, err error, good string) {
		c := tenant.Check{Store: store, Name: name, Status: tenant.CheckOK, Message: good}
		if err != nil {
			c.Status, c.Message = otherwise, strings.TrimPrefix(err.Error(), store+": ")
			var e *tenant.Error
			if errors.As(err, &e) {
				c.Hint = e.Hint
			}
		}
		checks = append(checks, c)
	}
	add := func(store, name string, err error, good string) { put(store, name, tenant.CheckError, err, good) }
	warn := func(store, name string, err error, good string) { put(store, name, tenant.CheckWarning, err, good) }
	catalog, postgres, err := a.catalog(ctx)
	if err != nil {
		add(tenant.KindPostgres, "connection", err, "")
		postgres = schema.New(nil, schemaConfig(cfg))
	} else {
		checks = append(checks, postgres.Doctor(ctx)...)
		err := catalog.Require(ctx)
		add("catalog", "version", err, "is at this program's version")
		if err == nil {
			left, first, err := catalog.LeftOver(ctx)
			if err == nil && left > 0 {
				err = &tenant.Error{Msg: fmt.Sprintf("%s interrupted, the oldest is a %s", tenant.Plural(left, "operation"), first), Hint: "tenantctl ops list --unfinished tells which; run their commands again, or tenantctl ops resume"}
			}
			warn("catalog", "operations", err, "none is interrupted")
			n, imports, err := catalog.LeftAway(ctx)
			if err == nil && n > 0 {
				err = &tenant.Error{Msg: fmt.Sprintf("imports have taken away and not put back: %d in all", n), Hint: tenant.LeftAwayHint(imports)}
			}
			warn("catalog", "imports", err, "all indexes, foreign keys and triggers are back that imports have taken away")
			if within := cfg.Backup.MaxAge; within > 0 {
				add("backups", "age", freshBackups(ctx, catalog, within), "every active tenant has one that is younger than "+keeping(within)+", or is younger itself")
			}
		}
	}
	err = nil
	if workers := cfg.Postgres.MaxConnections - 2; cfg.Fleet.Parallel > workers {
		err = &tenant.Error{Msg: fmt.Sprintf("fleet.parallel is %d, and postgres.max_connections lets %d work at once", cfg.Fleet.Parallel, workers), Hint: fmt.Sprintf("set postgres.max_connections to %d", cfg.Fleet.Parallel+2)}
	}
	warn("catalog", "parallel", err, fmt.Sprintf("%s at once", tenant.Plural(cfg.Fleet.Parallel, "tenant")))
	good, err := a.backupPlace(ctx)
	add("backups", "place", err, good)
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

// freshBackups names the active tenants whose newest backup is older than within.
func freshBackups(ctx context.Context, catalog *tenant.Catalog, within time.Duration) error {
	stale, err := catalog.Stale(ctx, within)
	if err != nil || len(stale) == 0 {
		return err
	}
	const most = 20
	named := make([]string, 0, most)
	for _, t := range stale[:min(most, len(stale))] {
		last := "none"
		if t.LastBackup != nil {
			last = age(*t.LastBackup) + " old"
		}
		named = append(named, fmt.Sprintf("%s (%s)", t.Tenant, last))
	}
	more := ""
	if n := len(stale) - len(named); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return &tenant.Error{
		Msg:  fmt.Sprintf("%s without a backup that is younger than %s: %s%s", tenant.Plural(len(stale), "active tenant"), keeping(within), strings.Join(named, ", "), more),
		Hint: "back them up: tenantctl backup NAME; all are listed by: tenantctl backup list --stale " + flagText(within),
	}
}

// backupPlace opens the place of backups, where there is one, and tells what it is. A folder that is not there yet is left
// to the first backup to be made.
func (a *app) backupPlace(ctx context.Context) (good string, err error) {
	open, place := a.vault(), a.cfg.Backup.URL
	if open == nil {
		return "there are no backups: backup.url is not set", nil
	}
	if _, err := os.Stat(place); !strings.Contains(place, "://") && errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(place)); err == nil {
			return "the first backup makes " + place, nil
		}
	}
	if _, err := open(ctx); err != nil {
		return "", err
	}
	return "can be opened", nil
}
