//go:build !unix

package schema

import "os/exec"

// guarded does nothing where there are no process groups: the command alone is ended, and outlives a tenantctl that is killed.
func guarded(*exec.Cmd) (over func(kill bool), err error) { return func(bool) {}, nil }
