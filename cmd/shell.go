package cmd

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newShellCmd(a *app) *cobra.Command {
	var mongodb bool
	var o tenant.ShellOptions
	c := &cobra.Command{
		Use:   "shell NAME",
		Short: "Open psql or mongosh as a tenant",
		Long: `Starts psql with the tenant's schema as its search_path and the rights of the tenant's role (of an adopted schema
without one: of its owner), or with --mongodb mongosh in the tenant's database, as the user of nosql.url: passwords of
tenants are kept nowhere. The prompt carries the environment and the tenant; your own ~/.psqlrc is read before.
--as-provisioner is psql as the role of postgres.url, for a suspended tenant too. Passwords are handed over in the
environment, never as arguments. The client's exit code is passed on.

The tenant's role guards against slips, not against a tenant: the login is that of postgres.url, and RESET ROLE goes back
to it, also in a function of the tenant's that you call. Where you do not trust its code, log in by its credentials.`,
		Example:           "  tenantctl shell acme\n  tenantctl shell acme --as-provisioner\n  tenantctl shell acme --mongodb",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.service(cmd.Context())
			if err != nil {
				return err
			}
			kind := tenant.KindPostgres
			if mongodb {
				kind = tenant.KindMongoDB
			}
			if mongodb && o.AsProvisioner {
				return tenant.Invalid("leave it out: mongosh is the user of nosql.url in any case", "--as-provisioner is for psql alone")
			}
			target := a.cfg.Target()
			o.Prompt = strings.TrimPrefix(target.Environment+"/"+args[0], "/")
			o.Danger = target.Protected && os.Getenv("NO_COLOR") == ""
			return runShell(cmd, a, s, kind, tenant.Name(args[0]), o)
		},
	}
	c.Flags().BoolVar(&mongodb, "mongodb", false, "mongosh instead of psql")
	c.Flags().BoolVar(&o.AsProvisioner, "as-provisioner", false, "psql as the role of postgres.url instead of the tenant's")
	return c
}

func runShell(cmd *cobra.Command, a *app, s *tenant.Service, kind string, name tenant.Name, o tenant.ShellOptions) error {
	program, args, env, cleanup, err := s.Shell(cmd.Context(), kind, name, o)
	if err != nil {
		return err
	}
	defer cleanup()
	// Ctrl-C belongs to the client from here on. It is heard by nobody here, not ignored, which the client would inherit.
	signal.Ignore(os.Interrupt)
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	client := exec.Command(program, args...)
	client.Env = append(os.Environ(), env...)
	client.Stdin, client.Stdout, client.Stderr = a.in, a.out.to, a.errOut.to
	if a.errOut.isJSON() {
		client.Stderr = a.errOut
	}
	err = client.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &clientExit{code: exit.ExitCode()}
	}
	if err != nil {
		return &tenant.Error{Tenant: name, Msg: "start " + program + ": " + err.Error()}
	}
	return nil
}
