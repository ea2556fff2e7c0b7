// Package cmd is the command line: one file per command, and the one place that wires configuration, stores and
// use cases together.
package cmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// Main runs the program and returns its exit code.
func Main() int {
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	ctx, stop := interruptible(context.Background(), a.tellInterrupted)
	defer stop()
	return run(ctx, a, os.Args[1:])
}

// run runs one command line.
func run(ctx context.Context, a *app, args []string) int {
	defer a.close()
	root := newRootCmd(a)
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	a.format = wantedFormat(args)
	a.errOut.asJSON(wantsJSONLog(args))
	err := execute(ctx, root)
	if err == nil && ctx.Err() != nil && !a.serves {
		err = &tenant.Error{Kind: tenant.ErrInterrupted, Msg: "interrupted"} // what was printed is done: it may be less than was asked for
	}
	if err == nil { // some writers, such as that of tables, keep their errors to themselves
		err = writing(a.out.failed())
	}
	a.report(err)
	a.errOut.flush()
	return exitCode(err)
}

// execute runs the command, and makes an error of a panic in it: what it was at work on is left to be resumed.
func execute(ctx context.Context, root *cobra.Command) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &tenant.Error{
				Code: "panic", Msg: fmt.Sprintf("a fault of this program ended the command: %v", r),
				Hint: "report it; tenantctl ops list --unfinished shows what it has left, and how to end that",
			}
		}
	}()
	return root.ExecuteContext(ctx)
}

// interruptible ends ctx at the first Ctrl-C or SIGTERM, and the process at the second. tell says so.
func interruptible(parent context.Context, tell func()) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		tell()
		cancel()
		<-signals
		os.Exit(exitInterrupted)
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}

func newRootCmd(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "tenantctl",
		Short: "Create, migrate, back up, restore and delete tenants across PostgreSQL and MongoDB",
		Long: `tenantctl owns the life of a tenant: a PostgreSQL schema and a MongoDB database, made, migrated,
backed up, restored, cloned, suspended and deleted as one, for one tenant or ten thousand. It is safe to kill at any
instant: run the same command again, or tenantctl ops resume.

` + exitHelp,
		Example: `  tenantctl init
  tenantctl create acme --domain acme.example.com --label plan=pro
  tenantctl migrate
  tenantctl describe acme`,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		DisableAutoGenTag:          true,
		PersistentPreRunE:          func(cmd *cobra.Command, _ []string) error { return a.start(cmd) },
		Args:                       noArgs,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := root.PersistentFlags()
	f.StringVar(&a.configFile, "config", "", "configuration `file` (else $TENANTCTL_CONFIG, tenantctl.yaml here or above, $XDG_CONFIG_HOME/tenantctl/config.yaml)")
	f.StringVar(&a.context, "context", "", "the `context` of the file (else $TENANTCTL_CONTEXT, config use-context, the file's current-context)")
	f.StringVar(&a.confirmed, "confirm", "", "the environment's `name`: what a protected one asks for; another environment is refused")
	f.StringP("output", "o", "", "output `format`: table, json, yaml, name or jsonpath=EXPR; lists also wide and csv")
	f.String("jq", "", "print what this jq `expression` makes of the JSON result")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "on stderr only questions, warnings, notes and errors")
	f.StringVar(&a.progressFlag, "progress", progressAuto, "show progress as `auto|plain|json|none`; auto: a line that moves at a terminal, else a line per event, none with -o json")
	f.String("actor", "", "the `name` that is recorded in the audit (default: the user of the operating system)")
	f.String("log-level", "", "log from this `level` on: debug, info, warn or error (default warn)")
	f.String("log-format", "", "write the log, and with json every line on stderr, as `text|json` (default text)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return tenant.Invalid("see: "+cmd.CommandPath()+" --help", "%s", err)
	})
	root.AddGroup(
		&cobra.Group{ID: groupTenants, Title: "Tenants:"},
		&cobra.Group{ID: groupFleet, Title: "The fleet:"},
		&cobra.Group{ID: groupServing, Title: "Serving:"},
		&cobra.Group{ID: groupSetup, Title: "Setting up and looking after:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupTenants, newCreateCmd(a), newAdoptCmd(a), newListCmd(a), newGetCmd(a), newDescribeCmd(a), newSetCmd(a), newDomainCmd(a), newRenameCmd(a),
		newCredentialsCmd(a), newSuspendCmd(a), newResumeCmd(a), newDeleteCmd(a), newUndeleteCmd(a), newPurgeCmd(a),
		newRestoreCmd(a), newCloneCmd(a), newExportCmd(a))
	add(groupFleet, newMigrateCmd(a), newApplyCmd(a), newBackupCmd(a), newImportCmd(a), newExecCmd(a), newShellCmd(a))
	add(groupSetup, newInitCmd(a), newDoctorCmd(a), newVerifyCmd(a), newAuditCmd(a), newOpsCmd(a), newConfigCmd(a), newVersionCmd(a))
	add(groupServing, newResolverCmd(a), newResolveCmd(a))
	root.AddCommand(newDocsCmd())
	root.SetHelpCommandGroupID(groupSetup)
	root.SetCompletionCommandGroupID(groupSetup)
	addTopics(root)
	root.Version = version
	root.SetVersionTemplate("tenantctl {{.Version}}\n")
	showPlainFlags(root)
	a.addCompletions(root)
	return root
}

const (
	groupTenants = "tenants"
	groupFleet   = "fleet"
	groupServing = "serving"
	groupSetup   = "setup"
)
