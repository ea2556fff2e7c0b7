package cmd

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/tenant"
)

type configInitOptions struct {
	first  config.First
	dryRun bool
}

// initFlags are those that answer the questions of config init.
var initFlags = []string{
	"environment", "protected", "postgres-url", "postgres-url-file", "nosql-url", "nosql-url-file", "no-mongodb", "backup-url",
}

func newConfigInitCmd(a *app) *cobra.Command {
	var o configInitOptions
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a first configuration file",
		Long: `Writes tenantctl.yaml into the working folder, or the file that --config names: by asking at a terminal, or by flags,
and then without a question. A file that is there is never written over. A file with a password in it can be read by
you alone (mode 0600). A password in an argument can be seen by others on this machine while the command runs: ask to be
asked, or name a file by --postgres-url-file. URLs that the environment gives (TENANTCTL_POSTGRES_URL) may be left out.`,
		Example: `  tenantctl config init
  tenantctl config init --environment staging --postgres-url-file secrets/postgres --nosql-url-file secrets/mongodb
  tenantctl config init --postgres-url postgres://tenantctl@localhost/app --no-mongodb`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runConfigInit(cmd, a, &o) },
	}
	f := c.Flags()
	f.StringVar(&o.first.Environment, "environment", "", "the environment's `name`, such as staging")
	f.BoolVar(&o.first.Protected, "protected", false, "ask for that name before what destroys or changes several tenants")
	f.StringVar(&o.first.Postgres, "postgres-url", "", "the `URL` of the PostgreSQL database, with the role that provisions")
	f.StringVar(&o.first.PostgresIn, "postgres-url-file", "", "a `file` that holds that URL")
	f.StringVar(&o.first.NoSQL, "nosql-url", "", "the `URL` of the MongoDB server")
	f.StringVar(&o.first.NoSQLIn, "nosql-url-file", "", "a `file` that holds that URL")
	f.BoolVar(&o.first.NoMongoDB, "no-mongodb", false, "tenants have no MongoDB database")
	f.StringVar(&o.first.Backup, "backup-url", "", "where backups are kept: a folder or a `URL`")
	addDryRun(c, &o.dryRun)
	return c
}

func runConfigInit(cmd *cobra.Command, a *app, o *configInitOptions) error {
	path, above := config.FileFor(a.where())
	if _, err := os.Lstat(path); err == nil {
		return &tenant.Error{
			Kind: tenant.ErrExists, Msg: path + " exists already, and is left as it is",
			Hint: "edit it, or name another file by --config; tenantctl config view shows what is in force",
		}
	}
	byFlags := false
	for _, name := range initFlags {
		byFlags = byFlags || cmd.Flags().Changed(name)
	}
	if !byFlags && isTerminal(a.in) {
		if err := a.askFirst(&o.first); err != nil {
			return err
		}
	}
	f := &o.first
	if f.Postgres+f.PostgresIn+os.Getenv("TENANTCTL_POSTGRES_URL")+os.Getenv("TENANTCTL_POSTGRES_URL_FILE") == "" {
		return tenant.Invalid("give --postgres-url or --postgres-url-file", "a configuration needs the URL of PostgreSQL")
	}
	if err := f.Check(); err != nil {
		return err
	}
	if above != "" {
		a.warn([]string{"from here on, " + path + " is read instead of " + above})
	}
	if o.dryRun {
		shown := f.Masked()
		f = &shown
	}
	text, err := f.YAML()
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if o.dryRun {
		doc := map[string]any{"file": path, "content": text, "dry_run": true}
		return a.print(doc, path, func(w io.Writer) { fmt.Fprintf(w, "would write %s:\n%s", path, text) })
	}
	mode := os.FileMode(0o644)
	if f.HoldsPassword() {
		mode = 0o600
	}
	if err := writeNew(path, []byte(text), mode, "name another file by --config"); err != nil {
		return err
	}
	return a.printFirst(path, mode)
}

func (a *app) printFirst(path string, mode os.FileMode) error {
	err := a.print(map[string]any{"file": path, "mode": fmt.Sprintf("%04o", mode)}, path, func(w io.Writer) {
		fmt.Fprintf(w, "wrote %s\n", path)
	})
	if mode == 0o600 {
		a.say("it holds a password, and you alone can read it (mode 0600): keep it out of version control")
	}
	next := "tenantctl doctor"
	if a.configFile != "" {
		next = "tenantctl --config " + a.configFile + " doctor"
	}
	a.say("next: %s", next)
	return err
}

// askFirst asks for what a first configuration holds.
func (a *app) askFirst(f *config.First) error {
	q := &questions{a: a, lines: bufio.NewReader(a.in)}
	f.Environment = q.ask("environment", "Name of this environment, such as staging (empty: none)")
	if f.Environment != "" {
		f.Protected = q.yes("Is it protected: ask for the name before what destroys or changes several tenants? (y/N)")
	}
	example := "postgres://tenantctl@localhost:5432/app"
	if os.Getenv("TENANTCTL_POSTGRES_URL") != "" {
		example = "empty: leave it to TENANTCTL_POSTGRES_URL"
	}
	f.Postgres = q.connection("postgres.url", "PostgreSQL, where the tenants' schemas are ("+example+")", "~/.pgpass or none")
	example = "mongodb://tenantctl@localhost:27017/?authSource=admin; empty: tenants have no MongoDB database"
	fromEnv := os.Getenv("TENANTCTL_NOSQL_URL") != ""
	if fromEnv {
		example = "empty: leave it to TENANTCTL_NOSQL_URL"
	}
	f.NoSQL = q.connection("nosql.url", "MongoDB ("+example+")", "none")
	f.NoMongoDB = f.NoSQL == "" && !fromEnv
	f.Backup = q.ask("backup.url", "Backups: a folder, or a URL such as s3://bucket?region=eu-central-1 (empty: none)")
	return q.err
}

// questions are asked until one cannot be.
type questions struct {
	a     *app
	lines *bufio.Reader
	err   error
}

// line reads a line, with echo or without.
func (q *questions) line(prompt string, secret bool) string {
	if q.err != nil {
		return ""
	}
	q.a.prompt(prompt + ": ")
	f, _ := beneath(q.a.in).(*os.File)
	before, _ := term.GetState(int(f.Fd())) // of a terminal; restoring nil does nothing
	read := make(chan string, 1)
	var failed error
	go func() {
		var text string
		if secret {
			var b []byte
			b, failed = term.ReadPassword(int(f.Fd()))
			text = string(b)
		} else {
			text, failed = q.lines.ReadString('\n')
		}
		read <- strings.TrimSpace(text)
	}()
	select {
	case <-q.a.cmd.Context().Done():
		if before != nil {
			_ = term.Restore(int(f.Fd()), before) // the echo comes back
		}
		q.err = &tenant.Error{Kind: tenant.ErrInterrupted, Msg: "interrupted, nothing is written"}
		return ""
	case text := <-read:
		if secret {
			fmt.Fprintln(q.a.errOut)
		}
		if failed != nil {
			q.err = tenant.Invalid("answer at a terminal, or use flags: tenantctl config init --help", "the answers ended early, nothing is written")
		}
		return text
	}
}

// ask repeats a question until its answer can be the value of the key.
func (q *questions) ask(key, prompt string) string {
	for q.err == nil {
		text := q.line(prompt, false)
		err := config.CheckValue(key, text)
		if err == nil {
			return text
		}
		fmt.Fprintf(q.a.errOut, "%v\n", err)
	}
	return ""
}

func (q *questions) yes(prompt string) bool {
	return strings.HasPrefix(strings.ToLower(q.line(prompt, false)), "y")
}

// connection asks for a URL, and for its password without showing it.
func (q *questions) connection(key, prompt, otherwise string) string {
	text := q.ask(key, prompt)
	u, err := url.Parse(text)
	if err != nil || u.User == nil || u.User.Username() == "" {
		return text
	}
	if _, set := u.User.Password(); set {
		return text
	}
	if password := q.line("Password of "+u.User.Username()+" (not shown; empty: "+otherwise+")", true); password != "" {
		u.User = url.UserPassword(u.User.Username(), password)
		return u.String()
	}
	return text
}
