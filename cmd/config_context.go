package cmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/tenant"
)

// where is how the configuration is looked for.
func (a *app) where() config.Options {
	return config.Options{File: a.configFile, Context: a.context, Flags: a.cmd.Flags()}
}

func newGetContextsCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "get-contexts",
		Short: "List the contexts of the configuration file",
		Long: `Lists the contexts of the configuration file, the one in force with a *, and where each leads to. A context that cannot
be used says why.`,
		Example: "  tenantctl config get-contexts\n  tenantctl config get-contexts -o name",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			all, path, err := config.Contexts(a.where())
			if err != nil {
				return err
			}
			l := a.newList("current", "name", "environment", "protected", "postgres", "mongodb", "problem")
			for _, c := range all {
				mark := ""
				if c.Current {
					mark = "*"
				}
				isProtected := ""
				if c.Protected {
					isProtected = a.paint(red, "yes")
				}
				if err := l.add(c, c.Name, mark, c.Name, c.Environment, isProtected, c.Postgres, c.MongoDB, c.Problem); err != nil {
					return err
				}
			}
			if path == "" {
				return l.end("no configuration file was found; write one: tenantctl config init")
			}
			return l.end(path + " has no contexts")
		},
	}
	a.addListFlags(c)
	return c
}

type contextDoc struct {
	Context string `json:"context"`
	Source  string `json:"source"`
	File    string `json:"file,omitempty"`
}

func newCurrentContextCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "current-context",
		Short:   "Show the context in force",
		Long:    "Shows the context in force; with -o json also what chose it. Exits 4 where there is none.",
		Example: "  tenantctl config current-context",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			name, source, err := config.CurrentContext(a.where())
			if err != nil {
				return err
			}
			if name == "" {
				return &tenant.Error{
					Kind: tenant.ErrNotFound, Msg: "no context is chosen",
					Hint: "tenantctl config get-contexts lists them; choose one: tenantctl config use-context NAME",
				}
			}
			return a.print(contextDoc{Context: name, Source: source}, name, func(w io.Writer) { fmt.Fprintln(w, name) })
		},
	}
}

func newUseContextCmd(a *app) *cobra.Command {
	var none bool
	c := &cobra.Command{
		Use:   "use-context NAME",
		Short: "Choose the context for the runs to come",
		Long: `Chooses the context that you work in with this configuration file, in every terminal, until another is chosen;
--context and $TENANTCTL_CONTEXT win over it. The choice is kept in your own $XDG_STATE_HOME/tenantctl/contexts.yaml
(~/.local/state): the configuration file, which may be under version control, is left as it is.`,
		Example:           "  tenantctl config use-context staging\n  tenantctl config use-context --none",
		ValidArgsFunction: a.completeContexts,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case none && len(args) == 0:
				args = []string{""}
			case none || len(args) != 1 || args[0] == "":
				return tenant.Invalid("usage: tenantctl config use-context NAME, or --none", "use-context takes the name of one context, or --none")
			}
			path, err := config.UseContext(a.where(), args[0])
			if err != nil {
				return err
			}
			name := args[0]
			return a.print(contextDoc{Context: name, Source: "config use-context", File: path}, name, func(w io.Writer) {
				if none {
					fmt.Fprintf(w, "%s: no context is chosen; its own current-context is in force, if it has one\n", path)
					return
				}
				fmt.Fprintf(w, "%s: context %s is chosen\n", path, name)
			})
		},
	}
	c.Flags().BoolVar(&none, "none", false, "end the choice")
	return c
}

// completeContexts offers the contexts of the file to the shell.
func (a *app) completeContexts(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	a.cmd = cmd
	var out []string
	if len(args) == 0 {
		for _, name := range config.ContextNames(a.where()) {
			if strings.HasPrefix(name, prefix) {
				out = append(out, name)
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
