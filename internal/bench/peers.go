package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// cost is what one run of a program took.
type cost struct {
	cpu, wall time.Duration
	rss       int64 // bytes, the peak
	peak      held  // of several processes, when their pss was largest
}

// contender reads the capture once.
type contender struct {
	name string
	run  func(ctx context.Context, capture string) (cost, error)
}

const (
	nameNDPI, nameArgus, nameSoftflowd, nameNfpcapd = "ndpiReader -q", "argus", "softflowd", "nfpcapd"
	nameFlows, nameParsers                          = "picket, features", "picket, every parser"
	nameServer, namePack                            = "picket, all by default", "picket, all and twelve detectors"
)

// peers are those that are installed.
func peers(dir string) ([]contender, func(), error) {
	// softflowd sends what it found somewhere; nobody reads it.
	sink, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	flows := filepath.Join(dir, "nfpcapd")
	if err := os.Mkdir(flows, 0o700); err != nil {
		return nil, nil, err
	}
	var list []contender
	for _, peer := range []struct {
		name, program string
		args          func(capture string) []string
	}{
		{nameNDPI, "ndpiReader", func(f string) []string { return []string{"-q", "-i", f} }},
		{nameArgus, "argus", func(f string) []string { return []string{"-r", f, "-w", "/dev/null"} }},
		{nameSoftflowd, "softflowd", func(f string) []string { return []string{"-r", f, "-n", sink.LocalAddr().String()} }},
		{nameNfpcapd, "nfpcapd", func(f string) []string { return []string{"-r", f, "-w", flows} }},
	} {
		program, err := lookup(peer.program)
		if err != nil {
			fmt.Printf("  %s is not installed: left out\n", peer.program)
			continue
		}
		list = append(list, contender{peer.name, func(ctx context.Context, capture string) (cost, error) {
			return command(exec.CommandContext(ctx, program, peer.args(capture)...))
		}})
	}
	return list, func() { _ = sink.Close() }, nil
}

// workers are picket-traffic alone.
func workers() []contender {
	return []contender{
		{nameFlows, worker("--features")},
		{nameParsers, worker("--features", "--facts", strings.Join(sdk.PlainFacts, ","))},
	}
}

// lookup also looks where Debian keeps servers, which is not on everybody's path.
func lookup(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

func command(cmd *exec.Cmd) (cost, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, fmt.Errorf("%w: %s", err, said.String())
	}
	used := cmd.ProcessState
	return cost{
		cpu: used.UserTime() + used.SystemTime(), wall: time.Since(began),
		rss: used.SysUsage().(*syscall.Rusage).Maxrss << 10,
	}, nil
}

// worker runs picket-traffic as the server does, and throws away what it says.
func worker(args ...string) func(context.Context, string) (cost, error) {
	return func(ctx context.Context, capture string) (cost, error) {
		in, err := os.Open(capture)
		if err != nil {
			return cost{}, err
		}
		defer in.Close()
		out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return cost{}, err
		}
		defer out.Close()
		cmd := exec.CommandContext(ctx, "bin/picket-traffic", append([]string{"--capture-fd", "3", "--out-fd", "4"}, args...)...)
		cmd.ExtraFiles = []*os.File{in, out}
		return command(cmd)
	}
}
