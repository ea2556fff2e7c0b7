package cmd

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

func newAuditCmd(a *app) *cobra.Command {
	var f tenant.AuditFilter
	var name, since string
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what, when and from where",
		Long: `Lists the entries of the audit, newest first. --tenant takes the name that a tenant has or had; --since takes a duration
(90m, 26h, 7d), a date (2026-11-30) or a time (RFC 3339).

` + exitHelp,
		Example: `  tenantctl audit --since 24h
  tenantctl audit --tenant acme -o json
  tenantctl audit --actor alice --action suspend --limit 0 -o csv`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.Since, err = parseSince(since, time.Now()); err != nil {
				return err
			}
			if f.Limit < 0 {
				return tenant.Invalid("give 0 for all", "--limit %d is below 0", f.Limit)
			}
			f.Tenant = tenant.Name(name)
			return runAudit(cmd, a, f)
		},
	}
	c.Flags().StringVar(&name, "tenant", "", "only entries of the tenant with this `name`")
	c.Flags().StringVar(&f.Actor, "actor", "", "only what this `actor` did")
	c.Flags().StringVar(&f.Action, "action", "", "only this `action`, such as delete or suspend")
	c.Flags().StringVar(&since, "since", "", "only entries since this `time`, or not older than this duration")
	c.Flags().IntVar(&f.Limit, "limit", 50, "at most `n`; 0 for all")
	a.addListFlags(c)
	return c
}

func runAudit(cmd *cobra.Command, a *app, f tenant.AuditFilter) error {
	s, err := a.lookup(cmd.Context())
	if err != nil {
		return err
	}
	limit := f.Limit
	if a.lists.sortBy != "" { // which are the first is known when all are sorted
		a.lists.limit, f.Limit = limit, 0
	} else if limit > 0 {
		f.Limit++ // to know whether there are more
	}
	l := a.newList("at", "actor", "action", "tenant", "detail").wrapped().wide("from", "operation")
	n := 0
	for e, err := range s.Audit(cmd.Context(), f) {
		if err != nil {
			return err
		}
		if n++; a.lists.sortBy == "" && limit > 0 && n > limit {
			break
		}
		operation := ""
		if e.Operation != nil {
			operation = e.Operation.String()
		}
		if err := l.add(e, operation, e.At.Format(time.RFC3339), e.Actor, e.Action, string(e.Tenant), inOneLine(string(e.Detail)), e.Origin, operation); err != nil {
			return err
		}
	}
	if err := l.end("no entries"); err != nil {
		return err
	}
	if a.lists.sortBy == "" && limit > 0 && n > limit {
		a.say("the newest %d are shown; --limit 0 shows all", limit)
	}
	return nil
}

// parseSince reads a time, or how long ago it was.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if d, err := parseAge(s); err == nil {
		return now.Add(-d), nil
	}
	return time.Time{}, tenant.Invalid("such as 26h, 7d, 2026-11-30 or 2026-11-30T08:00:00Z", "invalid time %q for --since", s)
}

// parseAge reads a duration, also in days.
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, tenant.Invalid("such as 26h or 7d", "invalid duration %q", s)
	}
	return d, nil
}
