package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// withStack starts a stack, calls body inside it and stops it; it returns the exit code for devstack itself.
// A clean-up that fails never ends with exit code 0.
func withStack(cfg config, body func(*stack, <-chan os.Signal) (int, error)) (int, error) {
	signals := catchSignals()
	s, code, err := startUnlessInterrupted(cfg, signals)
	if err != nil {
		return code, err
	}
	code, err = body(s, signals)
	if stopErr := s.stop(); stopErr != nil {
		err = errors.Join(err, stopErr)
		if code == 0 {
			code = exitFailed
		}
	}
	return code, err
}

// runCommand starts args with the stack's variables and waits until it ends, whatever signals arrive.
func runCommand(s *stack, args []string, signals <-chan os.Signal) (int, error) {
	if err := s.export(); err != nil {
		return exitFailed, err
	}
	// No context: the command ends by itself, and the stack outlives it in any case.
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = commandAttributes()
	proc, err := launch(cmd)
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return exitNotFound, err
		}
		return exitCannotExecute, err
	}

	lost := s.lost()
	for {
		select {
		case <-proc.done:
			return exitCode(cmd.ProcessState), nil
		case sig := <-signals:
			// Ctrl-C and Ctrl-\ reach the command from the terminal itself.
			if sig == syscall.SIGTERM || sig == syscall.SIGHUP {
				_ = cmd.Process.Signal(sig)
			}
		case <-lost:
			fmt.Fprintln(os.Stderr, "devstack:", s.postgres.ended())
			lost = nil
		}
	}
}

// stayUp prints how to reach the stack and keeps it until a signal asks for its end.
func stayUp(s *stack, envFile string, signals <-chan os.Signal) (int, error) {
	script := s.script()
	if envFile != "" {
		if err := writePrivately(envFile, script); err != nil {
			return exitFailed, fmt.Errorf("write --env-file: %w", err)
		}
		defer os.Remove(envFile)
	}
	if _, err := os.Stdout.WriteString(script); err != nil {
		return exitFailed, fmt.Errorf("print the addresses: %w", err)
	}
	fmt.Fprintln(os.Stderr, "devstack: both servers answer; Ctrl-C stops and removes them")

	select {
	case <-signals:
		return 0, nil
	case <-s.lost():
		return exitFailed, s.postgres.ended()
	}
}

// startUnlessInterrupted starts a stack; with an error, nothing of it is left and the exit code says why.
func startUnlessInterrupted(cfg config, signals <-chan os.Signal) (*stack, int, error) {
	ctx, cancel := signal.NotifyContext(context.Background(), stopSignals()...)
	defer cancel()
	s, err := startStack(ctx, cfg)
	if ctx.Err() == nil {
		return s, exitFailed, err
	}
	if err == nil {
		err = errors.Join(errInterrupted, s.stop())
	}
	if sig, ok := (<-signals).(syscall.Signal); ok {
		return nil, exitSignalBase + int(sig), err
	}
	return nil, exitFailed, err
}

// exitCode maps the end of a process the way shells do.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignalBase + int(status.Signal())
	}
	return state.ExitCode()
}

// catchSignals receives the signals that end devstack; from here on none of them ends it before the clean-up.
func catchSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, stopSignals()...)
	return signals
}

// stopSignals lists the signals that ask for an end. A hang-up does not where nohup had it ignored; an ignored Ctrl-C, which
// scripts give to what they start with "&", still does: no stack outlives the script that its user interrupts.
func stopSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// ignoreBrokenPipes turns writes to a closed stdout or stderr into errors: the signal would end devstack before the clean-up.
func ignoreBrokenPipes() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}
