package main

import (
	"os/exec"
	"runtime"
)

// account is the user that a server runs as, where it is not devstack's own.
type account struct {
	name     string
	uid, gid uint32
}

// process is a child of devstack.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; valid once done is closed
}

// launch starts cmd.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux sends the parent-death signal when the thread ends that forked, so this one stays for the child's life.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	return p, <-started
}
