package cmd

import (
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type verifyOptions struct {
	selection selectionFlags
	probe     bool
	sample    int
}

func newVerifyCmd(a *app) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [NAME...] --probe",
		Short: "Prove that tenants reach nothing of others",
		Long: probeHelp + `

` + exitHelp,
		Example:           probeExample,
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			sel, err := o.selection.selection(args)
			if err != nil {
				return err
			}
			if !o.probe {
				return tenant.Invalid("add --probe", "nothing is to be verified")
			}
			return a.runProbe(cmd, sel, o.sample)
		},
	}
	o.selection.add(c)
	addProbe(c, &o.probe, &o.sample)
	return c
}
