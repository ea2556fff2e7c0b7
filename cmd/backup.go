package cmd

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type backupOptions struct {
	selection selectionFlags
	run       runFlags
	only      string
	quiesce   bool
	dryRun    bool
}

const backupLong = `Writes one archive for each tenant, with its PostgreSQL schema and its MongoDB database in it, to backup.url. Each
store is read in one snapshot, while the tenant's application works on; how far apart the two are is recorded.
--quiesce locks the tenant's users out until both are read. An archive counts as a backup once its manifest is there,
which is written last: a killed backup leaves nothing that looks like one. See docs/restore-by-hand.md for how to
restore a backup without tenantctl.

--only makes a backup of one store. It is never taken for a whole one: not by NAME@latest, by restore without --only, or by
the rules of backup prune.

`

func newBackupCmd(a *app) *cobra.Command {
	c := newBackupCreateCmd(a)
	c.Use, c.Short = "backup [NAME...]", "Back tenants up, both stores in one archive"
	c.Example = `  tenantctl backup acme
  tenantctl backup --all --parallel 4 --max-failures 5%
  tenantctl backup --selector plan=pro --quiesce
  tenantctl backup acme --only mongodb
  tenantctl backup prune --keep-daily 7 --keep-weekly 5 --keep-monthly 12`
	c.AddCommand(newBackupCreateCmd(a), newBackupListCmd(a), newBackupShowCmd(a), newBackupVerifyCmd(a), newBackupPruneCmd(a))
	return c
}

// newBackupCreateCmd is backup by its full name, for a tenant that is called like a subcommand.
func newBackupCreateCmd(a *app) *cobra.Command {
	var o backupOptions
	c := &cobra.Command{
		Use:               "create [NAME...]",
		Short:             "The same as backup",
		Long:              backupLong + exitHelp,
		Example:           "  tenantctl backup create acme\n  tenantctl backup create list   # a tenant of that name",
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runBackup(cmd, a, &o, args) },
	}
	o.selection.add(c)
	o.run.add(c)
	o.run.rollout.addSelector(c)
	addOnly(c, &o.only)
	c.Flags().BoolVar(&o.quiesce, "quiesce", false, "lock the tenants' users out while they are read, so that both stores are of one moment")
	addDryRun(c, &o.dryRun)
	return c
}

// backupDoc is a backup as lists and runs show it.
type backupDoc struct {
	ID        uuid.UUID        `json:"id"`
	Tenant    tenant.Name      `json:"tenant"`
	CreatedAt time.Time        `json:"created_at"`
	Size      int64            `json:"size"`
	Versions  map[string]int64 `json:"versions"`
	Only      string           `json:"only,omitempty"`  // the one store that it holds; left out of a whole backup
	Parts     []tenant.Part    `json:"parts,omitempty"` // left out where many backups are told of: backup show has them
	Encrypted bool             `json:"encrypted"`
	SignedBy  string           `json:"signed_by"` // id of the key whose signature was verified; empty: none was
	Location  string           `json:"location"`
}

func docOfBackup(b *tenant.Backup) backupDoc {
	return backupDoc{b.ID, b.Tenant, b.CreatedAt, b.Size, b.Versions, b.Only, b.Parts, b.Encrypted, b.SignedBy, b.Location}
}

// backupRunDoc is a run with what it made; the parts are left to backup show.
type backupRunDoc struct {
	*tenant.RunResult
	Backups []backupDoc `json:"backups"`
}

func runBackup(cmd *cobra.Command, a *app, o *backupOptions, args []string) error {
	sel, err := o.selection.selection(args)
	if err != nil {
		return err
	}
	opts, err := o.run.options(cmd, a)
	if err != nil {
		return err
	}
	switch {
	case opts.Resume != "" && !sel.Empty():
		return tenant.Invalid("the run knows its tenants", "--resume takes no names and no selection")
	case opts.Resume != "" && o.only != "":
		return tenant.Invalid("the run knows its stores", "--resume takes no --only")
	case opts.Resume == "" && sel.Empty():
		return tenant.Invalid("give names, --all, --selector, --state or --shard", "backup does not guess which tenants are meant")
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	req := tenant.BackupRequest{Selection: sel, Only: o.only, Quiesce: o.quiesce}
	if o.dryRun {
		return runBackupDry(cmd, a, s, req, args)
	}
	doc := backupRunDoc{Backups: []backupDoc{}}
	r, err := s.Backup(cmd.Context(), req, opts, func(b *tenant.Backup) {
		d := docOfBackup(b)
		d.Parts = nil
		doc.Backups = append(doc.Backups, d)
	})
	if err != nil {
		return orSubcommand(cmd, args, err)
	}
	doc.RunResult = r
	a.progress.end()
	a.warn(r.Warnings)
	ids := make([]string, len(doc.Backups))
	for i, b := range doc.Backups {
		ids[i] = b.ID.String()
	}
	err = a.printReport(doc, strings.Join(ids, "\n"), func(w io.Writer) {
		if r.Summary.Tenants == 1 && len(doc.Backups) == 1 {
			b := doc.Backups[0]
			fmt.Fprintf(w, "%s: backed up%s in %s, %s\n", b.Tenant, alone(b.Only), millis(r.DurationMS), bytes(b.Size))
			a.fields(w, "id", b.ID, "location", b.Location)
			return
		}
		a.summary(w, r)
		var size int64
		for _, b := range doc.Backups {
			size += b.Size
		}
		if len(doc.Backups) > 0 {
			fmt.Fprintf(w, "%s, %s\n", tenant.Plural(len(doc.Backups), "backup"), bytes(size))
		}
	})
	if err != nil {
		return err
	}
	return a.outcome(cmd, s, &o.run, r)
}

// alone says of a backup that it holds one store; nothing of a whole one.
func alone(only string) string {
	if only == "" {
		return ""
	}
	return " (" + only + " alone)"
}

func runBackupDry(cmd *cobra.Command, a *app, s *tenant.Service, req tenant.BackupRequest, args []string) error {
	ts, err := s.PlanBackup(cmd.Context(), req)
	if err != nil {
		return orSubcommand(cmd, args, err)
	}
	l := a.newList("would back up", "schema", "database")
	for _, t := range ts {
		if err := l.add(outcomeDoc{Tenant: t, DryRun: true}, string(t.Name), t.Name, t.Schema, t.Database); err != nil {
			return err
		}
	}
	return l.end("no tenant is selected")
}

func newBackupListCmd(a *app) *cobra.Command {
	var scan bool
	var stale string
	c := &cobra.Command{
		Use:   "list [NAME...]",
		Short: "List backups, newest first",
		Long: `Lists the backups that the catalog knows, of all tenants or of those named; tenants that were purged have theirs
listed too. --scan first looks into the place of backups and puts the catalog right: for a catalog that was lost, or
backups that were brought there or taken away by other means. --stale 26h lists instead the active tenants whose newest
whole backup is older, or that have none, and exits 6 if there is one; a tenant that is younger needs none yet.

` + exitHelp,
		Example:           "  tenantctl backup list\n  tenantctl backup list acme -o json\n  tenantctl backup list --scan\n  tenantctl backup list --stale 26h",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.lookup(cmd.Context())
			if err != nil {
				return err
			}
			if scan {
				if err := runBackupScan(cmd, a, s); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("stale") {
				return runBackupStale(cmd, a, s, stale, args)
			}
			l := a.newList("id", "tenant", "age", "size", "versions", "encrypted", "signed by").wide("created", "location", "whole id")
			for b, err := range s.Backups(cmd.Context(), tenant.BackupFilter{Names: names(args)}) {
				if err != nil {
					return err
				}
				encrypted := "no"
				if b.Encrypted {
					encrypted = "yes"
				}
				if err := l.add(docOfBackup(b), b.ID.String(), tenant.ShortID(b.ID), b.Tenant, ageOf(b.CreatedAt), sizeOf(b.Size),
					versions(b.Versions)+alone(b.Only), encrypted, signedBy(b.SignedBy), b.CreatedAt.Format(time.RFC3339), b.Location, b.ID); err != nil {
					return err
				}
			}
			return l.end("there are no backups")
		},
	}
	a.addListFlags(c)
	c.Flags().BoolVar(&scan, "scan", false, "look into the place of backups first, and put the catalog right")
	c.Flags().StringVar(&stale, "stale", "", "list the active tenants without a backup that is younger than this `duration`")
	return c
}

// runBackupStale names the tenants without a fresh backup.
func runBackupStale(cmd *cobra.Command, a *app, s *tenant.Service, within string, args []string) error {
	d, err := parseAge(within)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return tenant.Invalid("leave the names out", "--stale looks at every active tenant")
	}
	stale, err := s.Stale(cmd.Context(), d)
	if err != nil {
		return err
	}
	l := a.newList("tenant", "last backup", "age")
	for _, t := range stale {
		last, old := "none", "-"
		if t.LastBackup != nil {
			last, old = t.LastBackup.Format(time.RFC3339), age(*t.LastBackup)
		}
		if err := l.add(t, string(t.Tenant), t.Tenant, last, old); err != nil {
			return err
		}
	}
	if err := l.end("every active tenant has a backup that is younger than " + within + ", or is younger itself"); err != nil || len(stale) == 0 {
		return err
	}
	return &tenant.Error{
		Kind: tenant.ErrDiffers, Code: "stale_backups", Msg: fmt.Sprintf("%s without a backup that is younger than %s", tenant.Plural(len(stale), "tenant"), within),
		Hint: "back them up: tenantctl backup NAME",
	}
}

// signedBy is the id of a key for a table.
func signedBy(key string) string {
	if key == "" {
		return "-"
	}
	return key
}

func runBackupScan(cmd *cobra.Command, a *app, s *tenant.Service) error {
	r, err := s.ScanBackups(cmd.Context())
	if err == nil {
		a.scanned(r)
	}
	return err
}

// scanned tells what a look into the place of backups found.
func (a *app) scanned(r *tenant.Scan) {
	if len(r.Added)+len(r.Lost) > 0 {
		a.say("scan: %d added to the catalog, %d taken out of it", len(r.Added), len(r.Lost))
	}
	var warnings []string
	if n := len(r.Partial); n > 0 {
		warnings = append(warnings, fmt.Sprintf("%s without a manifest: left by killed backups, or being written; prune removes what is older than a day", tenant.Plural(n, "archive")))
	}
	if n := len(r.Elsewhere); n > 0 {
		warnings = append(warnings, fmt.Sprintf("%s of the catalog in another store that was at this place; this one is not it, and has none of them", tenant.Plural(n, "backup")))
	}
	for _, b := range r.Broken {
		warnings = append(warnings, "manifest that cannot be read: "+b)
	}
	a.warn(warnings)
}

func oneBackup(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return tenant.Invalid("usage: "+cmd.UseLine(), "%s takes the id of one backup, or NAME@latest, %d given", cmd.CommandPath(), len(args))
	}
	return nil
}

func newBackupShowCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show BACKUP",
		Short:   "Show everything that a backup's manifest tells",
		Long:    "Reads the manifest of a backup where it is kept: versions, snapshots, skew, and each part with size, rows and checksum.\n\n" + exitHelp,
		Example: "  tenantctl backup show 3f9a1c2b4d5e\n  tenantctl backup show acme@latest -o json",
		Args:    oneBackup,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.lookup(cmd.Context())
			if err != nil {
				return err
			}
			b, err := s.OpenBackup(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(b, b.ID.String(), func(w io.Writer) { a.manifest(w, b) })
		},
	}
}

// signed says what was found of a signature.
func signed(state, key string) string {
	switch state {
	case tenant.SignatureVerified:
		return "by key " + key
	case tenant.SignatureUnknownKey:
		return "by a key that is not in backup.signing_key"
	case tenant.SignatureIgnored:
		return "not looked at: backup.signing is none"
	}
	return "no"
}

func (a *app) manifest(w io.Writer, b *tenant.Backup) {
	encrypted := "no"
	if b.Encrypted {
		encrypted = "yes"
	}
	a.fields(w, "id", b.ID, "tenant", b.Tenant, "created", b.CreatedAt.Format(time.RFC3339), "size", bytes(b.Size), "versions", versions(b.Versions)+alone(b.Only),
		"encrypted", encrypted, "signed", signed(b.Signature, b.SignedBy), "quiesced", b.Quiesced, "skew", millis(b.SkewMS), "location", b.Location, "made by", b.Tool)
	for _, kind := range []string{tenant.KindPostgres, tenant.KindMongoDB} {
		d, ok := b.Stores[kind]
		if !ok {
			continue
		}
		one := "one snapshot"
		if !d.Snapshot {
			one = "no snapshot: read over " + millis(d.Until.Sub(d.From).Milliseconds())
		}
		fmt.Fprintf(w, "\n%s: %s, %s\n", kind, d.Server, one)
		for _, n := range d.Notes {
			fmt.Fprintf(w, "  note: %s\n", n)
		}
		t := a.table(w)
		t.AppendHeader(header([]string{"part", "rows", "size", "stored"}))
		for _, p := range b.Parts {
			if strings.HasPrefix(p.Path, kind+"/") {
				rows := ""
				if p.Name != "" {
					rows = fmt.Sprint(p.Rows)
				}
				t.AppendRow(table.Row{p.Path, rows, bytes(p.Size), bytes(p.Stored)})
			}
		}
		t.Render()
	}
}

func newBackupVerifyCmd(a *app) *cobra.Command {
	var restoreTest bool
	c := &cobra.Command{
		Use:   "verify BACKUP",
		Short: "Prove that a backup can be read, or restored",
		Long: `Reads a backup to its end and checks every part's size and checksum. --restore-test also restores it, in both stores,
into a tenant of its own, compares rows and checksums with what was dumped, and removes that tenant. Exits 6 where
anything differs, with the name of the part.

` + exitHelp,
		Example: "  tenantctl backup verify acme@latest\n  tenantctl backup verify 3f9a1c2b4d5e --restore-test",
		Args:    oneBackup,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.service(cmd.Context())
			if err != nil {
				return err
			}
			v, err := s.VerifyBackup(cmd.Context(), args[0], restoreTest)
			a.progress.end()
			if err != nil {
				return err
			}
			return a.print(v, v.Backup.String(), func(w io.Writer) {
				how := "read to the end"
				if restoreTest {
					how = "restored, compared and removed"
				}
				fmt.Fprintf(w, "%s %s of %s%s: %s in %s; %s, %s, %s\n", a.paint(green, "verified:"), tenant.ShortID(v.Backup), v.Tenant, alone(v.Only), how, millis(v.DurationMS),
					tenant.Plural(v.Parts, "part"), tenant.Plural(int(v.Rows), "row"), bytes(v.Size))
				a.fields(w, "signed", signed(v.Signature, v.SignedBy))
			})
		},
	}
	addAllowSuperuser(c)
	c.Flags().BoolVar(&restoreTest, "restore-test", false, "restore it into a tenant of its own, compare, and remove that tenant")
	addIdentity(c)
	return c
}

// addIdentity adds the flag of a configuration key, which is where its value is read.
func addIdentity(c *cobra.Command) {
	c.Flags().String("identity", "", "the `file` with the private keys that open encrypted backups (default backup.identity_file)")
}

// addAllowSuperuser adds the flag of a configuration key, which is where its value is read.
func addAllowSuperuser(c *cobra.Command) {
	c.Flags().Bool("allow-superuser", false, "go on though postgres.url's role is a superuser (default postgres.allow_superuser)")
}
