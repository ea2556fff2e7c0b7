//go:build tenantctl_faults

package tenant

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
)

// FaultEnv names the environment variable that chooses a fault: ACTION@POINT, with kill, fail, interrupt or stop as
// ACTION. Every point that is passed is written to the file that TENANTCTL_TEST_FAULT_TRACE names.
const FaultEnv = "TENANTCTL_TEST_FAULT"

var struck atomic.Bool

// Checkpoint is a place where the tests kill, fail, interrupt or stop the program; it is nothing in the program that ships.
func Checkpoint(ctx context.Context, point string) error {
	if file := os.Getenv("TENANTCTL_TEST_FAULT_TRACE"); file != "" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(f, point)
	}
	action, at, _ := strings.Cut(os.Getenv(FaultEnv), "@")
	if at != point || !struck.CompareAndSwap(false, true) {
		return nil
	}
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
		if err := self.Signal(os.Interrupt); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	case "stop": // until somebody sends SIGCONT: a process that is thought dead and comes back
		return self.Signal(syscall.SIGSTOP)
	}
	return &Error{Msg: "fault injected at " + point}
}
