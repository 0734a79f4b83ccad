package analyzecmd

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/sdk"
)

// liveOptions say which interface is looked at.
type liveOptions struct {
	iface  string
	during time.Duration
	filter []string
}

// reading reads what `picket capture` writes, in a process of its own. That begins when the detectors are ready, and ends by itself
// or with ctx.
func (l *liveOptions) reading(ctx context.Context, stderr io.Writer) reading {
	return func(within context.Context, name string, opts traffic.Options, _ func(traffic.FileProgress), emit func([]sdk.Flow) error) (traffic.Summary, error) {
		exe, err := os.Executable()
		if err != nil {
			return traffic.Summary{}, fmt.Errorf("find this program: %w", err)
		}
		args := []string{"capture", "--interface", l.iface, "--write", "-", "--for", l.during.String(), "--"}
		cmd := exec.Command(exe, append(args, l.filter...)...)
		cmd.Stderr = stderr
		sum, err := analyzeOutput(ctx, cmd, func(in *os.File) (traffic.Summary, error) {
			return traffic.AnalyzeOpen(within, in, opts, nil, emit) // the capture shows how it goes
		})
		if err != nil {
			return sum, fmt.Errorf("interface %s: %w", name, err)
		}
		return sum, nil
	}
}

// analyzeOutput analyses what a program writes until it ends. It is asked to when ctx ends.
func analyzeOutput(ctx context.Context, cmd *exec.Cmd, analyze func(*os.File) (traffic.Summary, error)) (traffic.Summary, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return traffic.Summary{}, err
	}
	defer in.Close()
	cmd.Stdout = out
	err = cmd.Start()
	_ = out.Close() // it is the program's
	if err != nil {
		return traffic.Summary{}, fmt.Errorf("start the capture: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	sum, err := analyze(in)
	if err != nil { // it would wait for a reader, or for packets
		_ = in.Close()
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	failed := cmd.Wait()
	first := err == nil || sum.Packets == 0 && (cmd.ProcessState.Exited() || ctx.Err() != nil) // else it ended as it was asked to
	if failed != nil && first {
		err = fmt.Errorf("the capture failed: %w", failed) // which has said why
	}
	return sum, err
}

// noFiles refuses files in the place of the words of a filter. A file may be called "tcp", so that only names with a dot or a
// slash are looked for.
func noFiles(words []string) error {
	for _, word := range words {
		if !strings.ContainsAny(word, "./") {
			continue
		}
		if info, err := os.Stat(word); err == nil && info.Mode().IsRegular() {
			return usage.Errorf("%s is a file: with --interface what follows is a filter; leave out --interface to analyse the file", word)
		}
	}
	return nil
}
