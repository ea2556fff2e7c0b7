package main

import "syscall"

// signalOnParentDeath has the kernel send sig when devstack dies, by kill -9 too.
func signalOnParentDeath(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }
