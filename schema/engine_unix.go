//go:build unix

package schema

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a command the leader of a process group: Ctrl-C at the terminal is for tenantctl alone, which lets the
// command finish, and what is ended is ended with all that it has started.
func ownGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
}
