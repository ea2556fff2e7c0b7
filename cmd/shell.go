package cmd

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newShellCmd(a *app) *cobra.Command {
	var mongodb bool
	c := &cobra.Command{
		Use:   "shell NAME",
		Short: "Open psql or mongosh in a tenant's place",
		Long: `Starts psql with the tenant's schema as its search_path, or with --mongodb mongosh in the tenant's database, as the
role of the configuration. Passwords are handed over in the environment, never as arguments. The client's exit
code is passed on.`,
		Example:           "  tenantctl shell acme\n  tenantctl shell acme --mongodb",
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
			return runShell(cmd, a, s, kind, tenant.Name(args[0]))
		},
	}
	c.Flags().BoolVar(&mongodb, "mongodb", false, "mongosh instead of psql")
	return c
}

func runShell(cmd *cobra.Command, a *app, s *tenant.Service, kind string, name tenant.Name) error {
	program, args, env, cleanup, err := s.Shell(cmd.Context(), kind, name)
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
