//go:build !unix

package schema

import "os/exec"

// ownGroup does nothing where there are no process groups: the command alone is ended.
func ownGroup(*exec.Cmd) {}
