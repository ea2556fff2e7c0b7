package cmd

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

const (
	formatEnv    format = "env"    // for a shell
	formatDotenv format = "dotenv" // for what reads files of variables, and is no shell
	formatDSN    format = "dsn"
)

func newCredentialsCmd(a *app) *cobra.Command {
	var rotate, dryRun bool
	c := &cobra.Command{
		Use:   "credentials NAME",
		Short: "Show how a tenant's application connects; with --rotate, with a new password",
		Long: `Shows host, database and user of a tenant in every store. Passwords are kept nowhere: --rotate makes new ones and
shows them this once. It first asks every store whether it takes them, then shows them, then sets them in every store or in
none: where one refuses, or the passwords cannot be written, the old ones stay. Where a connection is lost in the last moment,
it says which of them count. Open connections go on; new ones need the new password. After a crash, run it again.
The output formats here are table, json, yaml, env (for a shell: eval it), dotenv (for dotenv libraries, docker --env-file and
EnvironmentFile= of systemd) and dsn.

` + exitHelp,
		Example: `  tenantctl credentials acme
  tenantctl credentials acme --rotate -o env > acme.env
  tenantctl credentials acme --rotate -o dotenv > .env
  tenantctl credentials acme --rotate -o json`,
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		Annotations:       map[string]string{outputFormats: "table,json,yaml,env,dotenv,dsn"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCredentials(cmd, a, tenant.Name(args[0]), rotate, dryRun)
		},
	}
	c.Flags().BoolVar(&rotate, "rotate", false, "set new passwords in every store, and show them")
	addDryRun(c, &dryRun)
	return c
}

func runCredentials(cmd *cobra.Command, a *app, name tenant.Name, rotate, dryRun bool) error {
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	if rotate && !dryRun {
		_, _, err = s.Rotate(cmd.Context(), name, a.showCredentials)
		return err
	}
	if rotate {
		c, err := s.PlanRotate(cmd.Context(), name)
		if err != nil {
			return err
		}
		return a.printPlan(c.Tenant, "set new passwords of %s", name)
	}
	c, err := s.Logins(cmd.Context(), name)
	if err != nil {
		return err
	}
	return a.showCredentials(c)
}

// showCredentials prints the logins; where it fails, they are not shown.
func (a *app) showCredentials(c *tenant.Credentials) error {
	switch a.format {
	case formatEnv:
		return writing(writeEnv(a.out, c, shellQuote))
	case formatDotenv:
		return writing(writeEnv(a.out, c, dotenvQuote))
	case formatDSN:
		for _, l := range c.Logins {
			if _, err := fmt.Fprintln(a.out, dsn(l)); err != nil {
				return writing(err)
			}
		}
		return nil
	}
	err := a.print(credentialsDoc(c), "", func(w io.Writer) {
		t := a.table(w)
		t.AppendHeader(header([]string{"store", "host", "port", "database", "schema", "user", "password"}))
		for _, l := range c.Logins {
			password := l.Password
			switch {
			case l.User == "":
				password = "(none)"
			case password == "":
				password = "(not kept)"
			}
			t.AppendRow([]any{l.Store, l.Host, l.Port, l.Database, l.Schema, orNone(l.User), password})
		}
		t.Render()
	})
	for _, l := range c.Logins {
		if l.Note != "" {
			a.say("note: %s: %s", l.Store, l.Note)
		}
	}
	if !c.Rotated {
		a.say("passwords are kept nowhere; for new ones: tenantctl credentials %s --rotate", c.Tenant.Name)
	}
	return err
}

// dsn is a login as one connection string; the password is in it where it is known.
func dsn(l tenant.Login) string {
	u := url.URL{Scheme: "postgres", Host: l.Host, Path: "/" + l.Database, RawQuery: l.Options}
	if l.Store == tenant.KindMongoDB {
		u.Scheme = "mongodb"
	}
	if l.Port > 0 {
		u.Host += ":" + strconv.Itoa(l.Port)
	}
	if l.User != "" {
		u.User = url.User(l.User)
		if l.Password != "" {
			u.User = url.UserPassword(l.User, l.Password)
		}
	}
	return u.String()
}

type loginDoc struct {
	tenant.Login
	DSN string `json:"dsn"`
}

func credentialsDoc(c *tenant.Credentials) any {
	doc := struct {
		Tenant  tenant.Name `json:"tenant"`
		Rotated bool        `json:"rotated"`
		Logins  []loginDoc  `json:"logins"`
	}{c.Tenant.Name, c.Rotated, []loginDoc{}}
	for _, l := range c.Logins {
		doc.Logins = append(doc.Logins, loginDoc{l, dsn(l)})
	}
	return doc
}

// writeEnv writes the logins as assignments.
func writeEnv(w io.Writer, c *tenant.Credentials, quote func(string) string) error {
	for _, l := range c.Logins {
		prefix := strings.ToUpper(l.Store) + "_"
		for _, kv := range [][2]string{
			{"URL", dsn(l)},
			{"HOST", l.Host},
			{"PORT", strconv.Itoa(l.Port)},
			{"DATABASE", l.Database},
			{"SCHEMA", l.Schema},
			{"USER", l.User},
			{"PASSWORD", l.Password},
		} {
			if kv[1] == "" || kv[1] == "0" {
				continue
			}
			if _, err := fmt.Fprintf(w, "%s%s=%s\n", prefix, kv[0], quote(kv[1])); err != nil {
				return err
			}
		}
	}
	return nil
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// dotenvQuote leaves a value bare where every reader of such files takes it so: some keep quotes as they are.
func dotenvQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.,:;/@%+=?&~[]", r)
	}
	switch {
	case !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }):
		return s
	case !strings.ContainsAny(s, "'\n"):
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`", "\n", `\n`).Replace(s) + `"`
}
