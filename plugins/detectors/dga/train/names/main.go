// Command names reads a table of names (name, label, family, source) and prints what of them the detector judges: family, label,
// suffix, and the name itself, each once. The training reads it, so that it sees what the detector sees.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/dga"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "names:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	w := bufio.NewWriter(out)
	seen := map[string]bool{}
	lines := bufio.NewScanner(in)
	for first := true; lines.Scan(); first = false {
		col := strings.Split(lines.Text(), "\t")
		if first || len(col) < 4 {
			continue
		}
		label, suffix, ok := dga.Label(col[0])
		if key := col[2] + " " + label + "." + suffix; ok && !seen[key] {
			seen[key] = true
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", col[2], label, suffix, col[0], col[3])
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return w.Flush()
}
