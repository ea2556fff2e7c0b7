//go:build unix && !linux

package main

import "syscall"

// signalOnParentDeath does nothing: there is no such signal outside Linux. PostgreSQL ends by itself, within a minute
// after the next start of a devstack has removed its folder.
func signalOnParentDeath(*syscall.SysProcAttr, syscall.Signal) {}
