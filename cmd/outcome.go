package cmd

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// outcomeDoc is what create, delete and their like give to a script.
type outcomeDoc struct {
	Operation *operationDoc `json:"operation"` // null where nothing had to be done, or with --dry-run
	Tenant    tenant.Tenant `json:"tenant"`
	DryRun    bool          `json:"dry_run,omitempty"`

	Dependents []tenant.Dependent `json:"dependents,omitempty"` // with --dry-run: what is outside and in the way

	Changes  []tenant.Difference `json:"changes,omitempty"` // of set and rename
	Warnings []string            `json:"warnings,omitempty"`
	Error    *tenant.Failure     `json:"error,omitempty"`
}

type operationDoc struct {
	ID         uuid.UUID       `json:"id"`
	Run        *uuid.UUID      `json:"run,omitempty"`
	Kind       string          `json:"kind"`
	State      tenant.OpState  `json:"state"`
	DurationMS int64           `json:"duration_ms"`
	Result     json.RawMessage `json:"result,omitempty"`
}

func docOf(o tenant.Outcome) outcomeDoc {
	d := outcomeDoc{Tenant: o.Tenant, Changes: o.Changes, Warnings: o.Warnings, Error: tenant.NewFailure(o.Err)}
	if d.Tenant.Domains == nil { // of a tenant that is not in the catalog, only the name is known
		d.Tenant.Domains, d.Tenant.Labels, d.Tenant.Versions = []string{}, map[string]string{}, map[string]int64{}
	}
	if op := o.Operation; op != nil {
		d.Operation = &operationDoc{op.ID, op.Run, op.Kind, op.State, op.Duration().Milliseconds(), op.Result}
	}
	return d
}

// printOutcome prints one tenant's operation; verb is for people: "created".
func (a *app) printOutcome(o *tenant.Outcome, verb string) error {
	a.warn(o.Warnings)
	return a.print(docOf(*o), string(o.Tenant.Name), func(w io.Writer) {
		if o.Operation == nil {
			fmt.Fprintf(w, "%s: unchanged (%s)\n", o.Tenant.Name, o.Tenant.State)
			return
		}
		fmt.Fprintf(w, "%s: %s in %s\n", o.Tenant.Name, verb, millis(o.Operation.Duration().Milliseconds()))
	})
}

// printPlan prints what a command would do to one tenant.
func (a *app) printPlan(t tenant.Tenant, format string, args ...any) error {
	return a.print(outcomeDoc{Tenant: t, DryRun: true}, string(t.Name), func(w io.Writer) {
		fmt.Fprintf(w, "would "+format+"\n", args...)
	})
}

// printPlanWith is printPlan with what depends on the tenant's objects from outside them; the plan ends with refusal.
func (a *app) printPlanWith(t tenant.Tenant, hanging []tenant.Dependent, refusal error, format string, args ...any) error {
	if err := a.print(outcomeDoc{Tenant: t, DryRun: true, Dependents: hanging}, string(t.Name), func(w io.Writer) {
		fmt.Fprintf(w, "would "+format+"\n", args...)
		for _, d := range hanging {
			fmt.Fprintf(w, "  %s depends on %s; free it: %s\n", d.Object, d.On, d.Free)
		}
	}); err != nil {
		return err
	}
	return refusal
}
