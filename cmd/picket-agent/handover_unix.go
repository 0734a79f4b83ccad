//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/picketwatch/picket/core/agent"
	"github.com/picketwatch/picket/core/agent/upgrade"
	"github.com/picketwatch/picket/core/kernel/config"
)

// An agent that updated itself is two programs: the one that was installed here, the base, and the one that it hands over to.
// They tell each other apart by the environment.
const (
	baseVariable  = "PICKET_AGENT_BASE"  // path of the base; set for the other one
	trialVariable = "PICKET_AGENT_TRIAL" // set for a version that must prove itself
)

// Exit codes of a version on trial, for the base.
const (
	exitProven  = 75
	exitRestart = 76
)

// trialTime is how long a version on trial may take until the server has a report from it.
const trialTime = 5 * time.Minute

// restarts says that this system starts the agent again when it asks for that.
const restarts = true

// base is the path of the installed program, "" in that program itself.
func base() string { return os.Getenv(baseVariable) }

func onTrial() bool { return os.Getenv(trialVariable) != "" }

// handOver runs the version that this machine should, and returns when that is this program itself. done says that there is
// nothing left to do, and err with which error.
func handOver(ctx context.Context, data string, lifeline int, log *slog.Logger) (done bool, err error) {
	if base() != "" {
		return false, nil
	}
	self, err := os.Executable()
	if err != nil {
		return false, fmt.Errorf("find this program: %w", err)
	}
	shelf := upgrade.Open(data, runtime.GOOS)
	for {
		next, err := shelf.Next(config.Version)
		if err != nil {
			log.Error("the installed agent runs", "version", config.Version, "reason", err)
			return false, nil
		}
		if next.Program == "" {
			return false, nil
		}
		if !next.Trial {
			return true, become(next.Program, lifeline, baseVariable+"="+self)
		}
		if stopped, err := try(ctx, shelf, next, self, lifeline, log); stopped || err != nil {
			return true, err
		}
	}
}

// try runs a version until it has proved itself, failed, or somebody stops this program.
func try(ctx context.Context, shelf *upgrade.Shelf, next upgrade.Choice, self string, lifeline int, log *slog.Logger) (stopped bool, err error) {
	log.Info("trying a new version of the agent", "version", next.Version, "for", trialTime)
	childCtx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	// The child stops when this end is closed, so that it does not outlive a base that is killed.
	alive, hold, err := os.Pipe()
	if err != nil {
		return false, err
	}
	defer hold.Close()
	defer alive.Close()
	cmd := exec.CommandContext(childCtx, next.Program, append(argumentsWithout("--lifeline-fd"), "--lifeline-fd=3")...)
	cmd.Env = append(os.Environ(), baseVariable+"="+self, trialVariable+"=1")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{alive}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		return false, shelf.Failed(fmt.Sprintf("it could not be started: %v", err))
	}
	if lifeline != 0 {
		if err := watchLifeline(lifeline, cancel); err != nil {
			cancel()
		}
	}
	err = cmd.Wait()
	switch code := cmd.ProcessState.ExitCode(); {
	case code == exitProven:
		log.Info("the new version of the agent works", "version", next.Version)
		return false, shelf.Proven()
	case code == exitRestart:
		return false, nil // it is tried again
	case ctx.Err() != nil || lifeline != 0 && childCtx.Err() != nil && !errors.Is(childCtx.Err(), context.DeadlineExceeded):
		return true, nil
	case errors.Is(childCtx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("it did not report to the server within %s", trialTime)
	default:
		err = fmt.Errorf("it ended before it reported to the server: %w", ended(err))
	}
	log.Error("the new version of the agent is given up", "version", next.Version, "reason", err)
	return false, shelf.Failed(err.Error())
}

// ended says of a program that ended by itself how it did.
func ended(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// begin starts the agent again after it ended by itself: by its exit code, where the base waits for it, and in place of this
// process elsewhere.
func begin(why error, lifeline int) error {
	if onTrial() {
		if errors.Is(why, agent.ErrProven) {
			return exitCode(exitProven)
		}
		return exitCode(exitRestart)
	}
	program := base()
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return err
		}
	}
	return become(program, lifeline)
}

// become replaces this process by a program with the same arguments. It returns only if that fails.
func become(program string, lifeline int, extra ...string) error {
	if lifeline != 0 { // it is closed at exec otherwise
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(lifeline), syscall.F_SETFD, 0); errno != 0 {
			return fmt.Errorf("keep the lifeline: %w", errno)
		}
	}
	env := extra
	for _, v := range os.Environ() {
		if name, _, _ := cutVariable(v); name != baseVariable && name != trialVariable {
			env = append(env, v)
		}
	}
	return fmt.Errorf("start %s: %w", program, syscall.Exec(program, append([]string{program}, os.Args[1:]...), env))
}
