package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// reportDetectors prints what each detector costs for a record that it subscribes to, and what it holds.
func reportDetectors(ctx context.Context) error {
	const benchmark = "BenchmarkDetectors/"
	fmt.Println("Detectors: processor time for each record that one subscribes to, and what it holds after lab-1 and the shared captures as one")
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkDetectors$", "-benchtime", "20x", "./internal/traffic/quality")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go test -bench: %w\n%s", err, out)
	}
	results := parse(string(out))
	for _, name := range slices.Sorted(maps.Keys(results)) {
		figure := func(metric string) float64 {
			value, _ := median(results[name][metric])
			return value
		}
		fmt.Printf("  %-20s %10s ns/record %8.2f MiB held   (%s records)\n", strings.TrimPrefix(name, benchmark),
			number(figure("cpu-ns/record")), figure("held-MiB"), number(figure("records")))
	}
	fmt.Println()
	return nil
}
