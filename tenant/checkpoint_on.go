//go:build tenantctl_faults

package tenant

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// FaultEnv names the environment variable that chooses faults, joined by commas: ACTION@POINT or ACTION@POINT#N for the
// N-th time that the point is passed, with kill, fail, interrupt or stop as ACTION. Every point that is passed is
// written to the file that TENANTCTL_TEST_FAULT_TRACE names, as POINT#N.
const FaultEnv = "TENANTCTL_TEST_FAULT"

var (
	passing sync.Mutex
	passed  = map[string]int{}
)

// Checkpoint is a place where the tests kill, fail, interrupt or stop the program; it is nothing in the program that ships.
func Checkpoint(ctx context.Context, point string) error {
	passing.Lock()
	passed[point]++
	n := passed[point]
	passing.Unlock()
	here := fmt.Sprintf("%s#%d", point, n)
	if file := os.Getenv("TENANTCTL_TEST_FAULT_TRACE"); file != "" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(f, here)
	}
	for fault := range strings.SplitSeq(os.Getenv(FaultEnv), ",") {
		action, at, _ := strings.Cut(fault, "@")
		if at == here || at+"#1" == here {
			return strike(ctx, action, here)
		}
	}
	return nil
}

func strike(ctx context.Context, action, point string) error {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	switch action {
	case "kill":
		if err := self.Signal(syscall.SIGKILL); err != nil {
			return err
		}
		select {} // the signal ends it
	case "interrupt":
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, os.Interrupt)
		defer signal.Stop(heard)
		if err := self.Signal(os.Interrupt); err != nil {
			return err
		}
		<-heard
		if ctx.Done() == nil {
			return nil // in the midst of what Ctrl-C lets finish
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Second):
			return nil // the same, in a context with an end of its own
		}
	case "stop": // until somebody sends SIGCONT: a process that is thought dead and comes back
		// The signal stops this thread a little later than it is sent.
		back := make(chan os.Signal, 1)
		signal.Notify(back, syscall.SIGCONT)
		defer signal.Stop(back)
		if err := self.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		<-back
		return nil
	}
	return &Error{Msg: "fault injected at " + point}
}
