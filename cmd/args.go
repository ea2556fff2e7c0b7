package cmd

import (
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// noArgs, oneName and twoNames check the number of arguments, with a word of help.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		hint := "see: " + cmd.CommandPath() + " --help"
		cmd.SuggestionsMinimumDistance = 2 // as cobra has it for the root alone
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean: " + cmd.CommandPath() + " " + near[0]
		}
		return tenant.Invalid(hint, "unknown command %q", args[0])
	}
	return tenant.Invalid("see: "+cmd.CommandPath()+" --help", "%s takes no arguments", cmd.CommandPath())
}

func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return tenant.Invalid("usage: "+cmd.UseLine(), "%s takes the name of one tenant, %d given", cmd.CommandPath(), len(args))
	}
	return nil
}

func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return tenant.Invalid("usage: "+cmd.UseLine(), "%s takes the id of one operation, %d given", cmd.CommandPath(), len(args))
	}
	return nil
}

func oneHost(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return tenant.Invalid("usage: "+cmd.UseLine(), "%s takes one host, %d given", cmd.CommandPath(), len(args))
	}
	return nil
}

func twoNames(cmd *cobra.Command, args []string) error {
	if len(args) != 2 {
		return tenant.Invalid("usage: "+cmd.UseLine(), "%s takes two names, %d given", cmd.CommandPath(), len(args))
	}
	return nil
}

// names reads tenants' names from arguments.
func names(args []string) []tenant.Name {
	out := make([]tenant.Name, len(args))
	for i, s := range args {
		out[i] = tenant.Name(s)
	}
	return out
}

// selectionFlags choose tenants beside, or instead of, names.
type selectionFlags struct {
	all      bool
	selector string
	states   []string
	shard    string
	none     bool // may match nobody
}

func (f *selectionFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.all, "all", false, "every tenant")
	cmd.Flags().BoolVar(&f.none, "allow-empty", false, "go on where the selection matches no tenant, which is refused otherwise")
	f.addFilter(cmd)
	cmd.Flags().StringVar(&f.shard, "shard", "", "part `I/N` of the tenants: a stable split for parallel jobs")
}

// addFilter adds only those flags that narrow a list.
func (f *selectionFlags) addFilter(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.selector, "selector", "l", "", "only tenants with these `labels`: key=value,key!=value,key in (a,b)")
	cmd.Flags().StringSliceVar(&f.states, "state", nil, "only tenants in these `states`")
}

func (f *selectionFlags) selection(args []string) (tenant.Selection, error) {
	sel := tenant.Selection{Names: names(args), All: f.all, AllowEmpty: f.none}
	var err error
	if sel.Selector, err = tenant.ParseSelector(f.selector); err != nil {
		return sel, err
	}
	if sel.States, err = tenant.ParseStates(f.states); err != nil {
		return sel, err
	}
	if sel.Shard, err = tenant.ParseShard(f.shard); err != nil {
		return sel, err
	}
	return sel, sel.Check()
}
