package main

import (
	"os/exec"
	"syscall"
)

// serverAccount is nil: the servers run as the user of devstack.
func serverAccount() (*account, error) { return nil, nil }

// serverAttributes keeps Ctrl-C away from a server.
func serverAttributes(*account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// commandAttributes leaves the command in devstack's own console group, where Ctrl-C reaches it.
func commandAttributes() *syscall.SysProcAttr { return nil }

// quit ends a server; PostgreSQL's other processes follow their first one.
func quit(server *exec.Cmd) error { return kill(server) }

func kill(server *exec.Cmd) error { return server.Process.Kill() }

// giveTo does nothing: there is one account only.
func giveTo(*account, string) error { return nil }
