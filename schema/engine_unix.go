//go:build unix

package schema

import (
	"io"
	"os/exec"
	"syscall"
)

// guarded puts a command into a process group of its own: Ctrl-C at the terminal is for tenantctl alone, which lets the command
// finish, and what is ended is ended with all that it has started. The group is led by a shell that waits for a word from
// this process and kills the group if it dies without one, however it dies. over is called when the command has ended:
// with kill, what it has left behind is killed.
func guarded(c *exec.Cmd) (over func(kill bool), err error) {
	guard := exec.Command("sh", "-c", `trap "" TERM; read -r over || kill -KILL 0`)
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	hold, err := guard.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := guard.Start(); err != nil {
		return nil, err
	}
	group := guard.Process.Pid
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	c.Cancel = func() error { return syscall.Kill(-group, syscall.SIGTERM) }
	return func(kill bool) {
		if !kill {
			_, _ = io.WriteString(hold, "over\n") // one that is gone already has nothing to guard
		}
		_ = hold.Close() // that of a pipe whose reader may be gone
		_ = guard.Wait() // its end by its own signal is what is wanted
	}, nil
}
