package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// rolloutFlags divide a run into waves.
type rolloutFlags struct {
	canary   int
	canaries string
	wave     string
	pause    time.Duration
	check    string
}

func (f *rolloutFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.canary, "canary", 0, "begin with a wave of `n` tenants, and stop if one of them fails")
	cmd.Flags().StringVar(&f.wave, "wave", "", "go on in waves of so many tenants: `N|P%`")
	cmd.Flags().DurationVar(&f.pause, "pause", 0, "wait this `duration` between two waves")
	cmd.Flags().StringVar(&f.check, "check", "", "run this `command` between two waves, after the pause, and stop unless it exits with 0")
}

// addSelector is for runs over tenants that are there already.
func (f *rolloutFlags) addSelector(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.canaries, "canary-selector", "", "choose the canaries among tenants with these `labels`")
}

func (f *rolloutFlags) rollout(cmd *cobra.Command, a *app) (tenant.Rollout, error) {
	r := tenant.Rollout{Canary: f.canary, Pause: f.pause}
	var err error
	if r.Canaries, err = tenant.ParseSelector(f.canaries); err != nil {
		return r, err
	}
	if f.wave != "" {
		if r.Wave, err = tenant.ParseBudget("tenants in a wave", f.wave); err != nil {
			return r, err
		}
	}
	switch {
	case cmd.Flags().Changed("canary") && f.canary < 1:
		return r, tenant.Invalid("write a number from 1 on", "invalid number of canaries %d", f.canary)
	case f.check != "":
		r.Check = func(ctx context.Context, w tenant.Wave) error { return a.check(ctx, f.check, w) }
	case cmd.Flags().Changed("check"):
		r.Unchecked = true
	}
	return r, nil
}

// check runs a person's command between two waves. What it prints goes to stderr: stdout is for results.
func (a *app) check(ctx context.Context, command string, w tenant.Wave) error {
	a.progress.end()
	shell, flag := "sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/C"
	}
	c := exec.CommandContext(ctx, shell, flag, command)
	c.Stdout, c.Stderr = a.errOut, a.errOut
	c.WaitDelay = 5 * time.Second
	c.Env = append(os.Environ(), fmt.Sprint("TENANTCTL_WAVE=", w.Number), fmt.Sprint("TENANTCTL_WAVES=", w.Of),
		fmt.Sprint("TENANTCTL_CHANGED=", w.Changed), fmt.Sprint("TENANTCTL_FAILED=", w.Failed))
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return fmt.Errorf("the check ended with %s", exit.ProcessState)
	case err != nil:
		return fmt.Errorf("the check could not be run: %w", err)
	}
	return nil
}
