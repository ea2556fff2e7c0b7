package cmd

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newOpsResolveCmd(a *app) *cobra.Command {
	var o confirmFlags
	var as string
	c := &cobra.Command{
		Use:   "resolve ID --as done|undone",
		Short: "End an operation by your word, where nothing else ends it",
		Long: `Ends an operation whose process died or that could not be finished, and touches no store. The catalog then says of the
tenant what it would say had the operation ended so. It is the last resort: put right by hand what the operation has left
in the stores, resolve it, and run tenantctl verify NAME. It is written into the audit. A purge cannot be resolved as done:
it is done when it has proved that nothing is left.

` + exitHelp,
		Example: "  tenantctl ops resolve 543067d63f6a --as undone\n  tenantctl verify acme",
		Args:    oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if as != "done" && as != "undone" {
				return tenant.Invalid("use --as done or --as undone", "--as %q is neither done nor undone", as)
			}
			s, err := a.service(cmd.Context())
			if err != nil {
				return err
			}
			d, err := s.Operation(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if o.dryRun {
				return a.print(d, d.ID.String(), func(w io.Writer) {
					fmt.Fprintf(w, "would resolve %s of %s (%s) as %s\n", d.Kind, orNone(string(d.Tenant)), d.State, as)
				})
			}
			q := question{
				text:   fmt.Sprintf("This calls %s of tenant %s %s by your word alone: no store is looked at.", d.Kind, orNone(string(d.Tenant)), as),
				short:  fmt.Sprintf("this would call %s of tenant %s %s by your word alone", d.Kind, orNone(string(d.Tenant)), as),
				answer: tenant.ShortID(d.ID),
			}
			if err := a.confirm(o.yes, q); err != nil {
				return err
			}
			op, err := s.Resolve(cmd.Context(), d.ID.String(), as == "done")
			if err != nil {
				return err
			}
			return a.print(op, op.ID.String(), func(w io.Writer) {
				fmt.Fprintf(w, "%s of %s: %s\n", op.Kind, orNone(string(op.Tenant)), a.opState(op.State))
			})
		},
	}
	c.Flags().StringVar(&as, "as", "", "what is true of it: `done|undone`")
	o.add(c)
	return c
}
