// Package gatecheck is what the commands have in common that publish: the flags that say what the gates may use, and how
// their findings are shown.
package gatecheck

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
)

// Options are what the operator of a registry gives the gates to work with.
type Options struct {
	vulnerabilities string
	modules         string
	sources         string
	clone           bool
	test            bool
	captures        string
	labels          string
	buildCache      string

	// Own says that what is looked at is the operator's own work, which may run without confinement.
	Own bool
	// Environ is what such work runs with; nil: what this program has.
	Environ func(gates.Release) []string
}

// Flags declares the options.
func (o *Options) Flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.vulnerabilities, "vulnerabilities", "", "a database of known vulnerabilities: a folder or zip archive of OSV files, such as all.zip of an ecosystem")
	f.BoolVar(&o.test, "run-releases", false, "run the conformance kit over what is handed in, confined; on Linux only")
	f.StringVar(&o.captures, "captures", "", "a folder of public captures and labels.tsv, to measure detectors with, confined; on Linux only")
	f.StringVar(&o.labels, "labels", "", "what the captures hold (default: labels.tsv beside them)")
	f.StringVar(&o.sources, "sources", "", "a folder with checkouts of releases as NAMESPACE/NAME, to build them again and compare")
	f.BoolVar(&o.clone, "clone", false, "fetch the source that a release names over HTTPS, to build it again and compare")
	f.StringVar(&o.buildCache, "build-cache", "", "a folder for what is compiled on the way, kept from one release to the next (default: a new one for each)")
	f.StringVar(&o.modules, "module-cache", "", "a folder of Go modules to look up licences of dependencies in (default: that of the Go tools here, if any)")
}

// Config returns what the gates work with.
func (o *Options) Config() (gates.Config, error) {
	cfg := gates.Config{ModuleCache: o.modules, CrateCache: crates()}
	if cfg.ModuleCache == "" {
		cfg.ModuleCache = goModules()
	}
	if o.test {
		cfg.Test = test
	}
	if o.captures != "" {
		cfg.Judge = o.judge
	}
	if o.sources != "" || o.clone {
		cfg.Rebuild = o.rebuild
	}
	if o.vulnerabilities == "" {
		return cfg, nil
	}
	var err error
	cfg.Vulnerabilities, err = gates.OpenVulnerabilities(o.vulnerabilities)
	return cfg, err
}

// goModules is the module cache of the Go tools, "" without them.
func goModules() string {
	out, err := exec.CommandContext(context.Background(), "go", "env", "-json", "GOMODCACHE").Output()
	var env struct{ GOMODCACHE string }
	if err != nil || json.Unmarshal(out, &env) != nil {
		return ""
	}
	return env.GOMODCACHE
}

// crates is where cargo unpacks crates, "" when nobody knows.
func crates() string {
	home := os.Getenv("CARGO_HOME")
	if home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		home = filepath.Join(user, ".cargo")
	}
	return filepath.Join(home, "registry", "src")
}

// styles of the states of a gate.
var styles = map[string]columns.Style{
	registry.GatePassed: columns.Good, registry.GateWarning: columns.Warn, registry.GateFailed: columns.Bad, registry.GateNotChecked: columns.Warn,
}

// Print shows gates as a table, with the details of those that did not pass below each.
func Print(p *columns.Printer, list []registry.Gate) {
	var rows [][]columns.Cell
	for _, g := range list {
		rows = append(rows, []columns.Cell{columns.C("    " + g.Name), columns.S(styles[g.State], g.State), columns.S(columns.Dim, g.Summary)})
		if g.State == registry.GatePassed {
			continue
		}
		for _, d := range g.Details {
			rows = append(rows, []columns.Cell{columns.C(""), columns.C(""), columns.S(columns.Dim, "  "+d)})
		}
	}
	p.Table(rows)
	p.Line(columns.C("    tier: "), columns.S(columns.Good, registry.TierOf(list)))
}
