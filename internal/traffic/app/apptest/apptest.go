// Package apptest helps to test parsers: on captures, on conversations made up in the test, on what a fuzzer thinks of, and
// against what tshark says.
package apptest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// Shared returns the path of a shared capture, and skips the test where there are none.
func Shared(tb testing.TB, name string) string {
	tb.Helper()
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			path := filepath.Join(dir, "..", "shared", "pcaps", name)
			if _, err := os.Stat(path); err != nil {
				tb.Skip("no shared captures at ../shared/pcaps")
			}
			return path
		}
		if abs, err := filepath.Abs(dir); err != nil || abs == "/" {
			tb.Fatal("not inside of a module")
		}
	}
}

// Run reads a capture through the engine, with every protocol's facts going to emit.
func Run(tb testing.TB, path string, protocols []app.Protocol, emit func(*app.Fact)) *app.Engine {
	tb.Helper()
	facts := map[string]func(*app.Fact){}
	for i := range protocols {
		facts[protocols[i].Name] = emit
	}
	engine := app.New(app.Config{Facts: facts}, protocols)
	_, err := traffic.AnalyzeFile(context.Background(), path, traffic.Options{Flow: flow.Config{Apps: engine}}, nil,
		func([]sdk.Flow) error { return nil })
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		tb.Fatal(err)
	}
	return engine
}

// Tshark returns the fields that tshark reads from a capture, a row for each packet that the filter passes, and skips the
// test where there is no tshark. Several values of one field come as a list.
func Tshark(tb testing.TB, path, filter string, fields ...string) [][][]string {
	tb.Helper()
	return TsharkWith(tb, nil, path, filter, fields...)
}

// TsharkWith is Tshark with more options on its command line.
func TsharkWith(tb testing.TB, options []string, path, filter string, fields ...string) [][][]string {
	tb.Helper()
	program, err := exec.LookPath("tshark")
	if err != nil {
		tb.Skip("no tshark here")
	}
	args := []string{"-n", "-r", path, "-Y", filter, "-T", "fields", "-E", "separator=/t", "-E", "aggregator=|"}
	args = append(args, options...)
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.CommandContext(context.Background(), program, args...).Output()
	if err != nil {
		tb.Fatalf("tshark: %v", err)
	}
	var rows [][][]string
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		if line == "" {
			continue
		}
		var row [][]string
		for _, field := range strings.Split(line, "\t") {
			if field == "" {
				row = append(row, nil)
				continue
			}
			row = append(row, strings.Split(field, "|"))
		}
		rows = append(rows, row)
	}
	return rows
}
