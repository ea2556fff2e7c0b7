//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// serverAccount returns the user that PostgreSQL runs as where devstack is root, which PostgreSQL refuses; else nil.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("read the ids of user %s: %w", name, err)
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root and there is no user postgres or nobody: run devstack as another user")
}

// serverAttributes puts a server in a session of its own, out of reach of the terminal's Ctrl-C, as owner.
func serverAttributes(owner *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if owner != nil {
		attr.Credential = &syscall.Credential{Uid: owner.uid, Gid: owner.gid}
	}
	// SIGQUIT is PostgreSQL's immediate shutdown.
	signalOnParentDeath(attr, syscall.SIGQUIT)
	return attr
}

// commandAttributes leaves the command in devstack's own process group, where the terminal's signals reach it.
func commandAttributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	signalOnParentDeath(attr, syscall.SIGTERM)
	return attr
}

// quit asks a server to end at once without saving its state.
func quit(server *exec.Cmd) error { return server.Process.Signal(syscall.SIGQUIT) }

// kill ends a server and the processes that stayed in its process group.
func kill(server *exec.Cmd) error { return syscall.Kill(-server.Process.Pid, syscall.SIGKILL) }

// giveTo makes owner the owner of all under dir.
func giveTo(owner *account, dir string) error {
	if owner == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.uid), int(owner.gid))
	})
}
