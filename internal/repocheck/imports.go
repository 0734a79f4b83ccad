package repocheck

import (
	"path"
	"slices"
	"strings"
)

const module = "github.com/picketwatch/picket"

// importRule says that packages under Who must not import packages under Forbidden, unless Except lists the importer
// or Allowed lists the imported package. Patterns are path prefixes ("core/...") or exact paths; a path without a
// dot in its first element is inside the module.
type importRule struct {
	Reason    string
	Who       []string
	Except    []string
	Forbidden []string
	Allowed   []string
	// Fixture is an importer and an import that break the rule.
	Fixture [2]string
}

var importRules = []importRule{
	{
		Reason:    "the core starts plugins, it never contains one",
		Who:       []string{"core/...", "registry/...", "cmd/picketd", "cmd/picket-agent", "cmd/picket/...", "cmd/picket"},
		Forbidden: []string{"plugins/..."},
		Fixture:   [2]string{"core/services/detect", "plugins/detectors/portscan"},
	},
	{
		Reason:    "SQL and its drivers live in one package, so that storage can change behind it",
		Who:       []string{"..."},
		Except:    []string{"core/kernel/store/...", "internal/load"}, // which counts what was stored without asking who stored it
		Forbidden: []string{"github.com/duckdb/...", "github.com/mattn/go-sqlite3/...", "database/sql"},
		Fixture:   [2]string{"core/kernel/api", "github.com/duckdb/duckdb-go/v2"},
	},
	{
		Reason:    "HTTP framing is the business of the API alone",
		Who:       []string{"..."},
		Except:    []string{"core/kernel/api/..."},
		Forbidden: []string{"github.com/gin-gonic/...", "github.com/danielgtaylor/huma/..."},
		Fixture:   [2]string{"core/services/alert", "github.com/gin-gonic/gin"},
	},
	{
		Reason:    "PromQL is one package's business, so that its engine can be replaced; the collector uses the parser of pages",
		Who:       []string{"..."},
		Except:    []string{"core/kernel/promql/...", "plugins/collectors/prometheus/..."},
		Forbidden: []string{"github.com/prometheus/prometheus/..."},
		Fixture:   [2]string{"core/kernel/api", "github.com/prometheus/prometheus/promql"},
	},
	{
		Reason:    "formats of metrics are read in one package, which knows neither HTTP nor SQL",
		Who:       []string{"..."},
		Except:    []string{"core/kernel/ingest/..."},
		Forbidden: []string{"go.opentelemetry.io/proto/..."},
		Fixture:   [2]string{"core/kernel/api", "go.opentelemetry.io/proto/otlp/metrics/v1"},
	},
	{
		Reason:    "a compiler for hostile code runs in its own process, never in the server or the agent",
		Who:       []string{"..."},
		Except:    []string{"cmd/picket-wasm/..."},
		Forbidden: []string{"github.com/tetratelabs/wazero/..."},
		Fixture:   [2]string{"core/kernel/pluginhost", "github.com/tetratelabs/wazero"},
	},
	{
		Reason:    "packets are parsed in the worker and in plugins only",
		Who:       []string{"..."},
		Except:    []string{"internal/traffic/...", "plugins/..."},
		Forbidden: []string{"github.com/gopacket/..."},
		Fixture:   [2]string{"core/services/traffic", "github.com/gopacket/gopacket"},
	},
	{
		Reason:    "the process that holds keys and data never parses a packet",
		Who:       []string{"core/...", "cmd/picketd", "registry/..."},
		Forbidden: []string{"internal/traffic/..."},
		Fixture:   [2]string{"core/services/traffic", "internal/traffic"},
	},
	{
		Reason:    "the host knows one transport; go-plugin and gRPC stay behind sdk/serve and sdk/host",
		Who:       []string{"..."},
		Except:    []string{"sdk/serve/...", "sdk/host/...", "sdk/internal/..."},
		Forbidden: []string{"github.com/hashicorp/go-plugin/...", "google.golang.org/grpc/..."},
		Fixture:   [2]string{"core/kernel/pluginhost", "github.com/hashicorp/go-plugin"},
	},
	{
		Reason:    "the root of the sdk needs the standard library only, so that WASM guests stay small",
		Who:       []string{"sdk", "sdk/config", "sdk/records", "sdk/abi", "sdk/guest"},
		Forbidden: []string{"github.com/...", "google.golang.org/...", "golang.org/x/..."},
		Allowed:   []string{"sdk/..."},
		Fixture:   [2]string{"sdk", "golang.org/x/sys/unix"},
	},
	{
		Reason:    "authors import the sdk and never the core that it serves",
		Who:       []string{"sdk/..."},
		Forbidden: []string{"core/...", "registry/...", "internal/...", "plugins/...", "web/...", "cmd/..."},
		Fixture:   [2]string{"sdk/sdktest", "core/kernel/pluginhost"},
	},
	{
		Reason: "a plugin lives on the sdk alone, as a third party's would",
		Who:    []string{"plugins/..."},
		Except: []string{
			"plugins/internal/processtest", // plays the host, in tests
			"plugins/internal/inquire",     // reads answers with the parsers of traffic, of which a second copy would differ
		},
		Forbidden: []string{"core/...", "registry/...", "internal/...", "web/...", "cmd/...", "sdk/host/..."},
		Fixture:   [2]string{"plugins/detectors/beacon", "internal/traffic"},
	},
	{
		Reason:    "the kernel knows plugins, people, rows and orders, and no domain",
		Who:       []string{"core/kernel/..."},
		Forbidden: []string{"core/services/...", "core/agent/..."},
		Fixture:   [2]string{"core/kernel/api", "core/services/alert"},
	},
	{
		Reason:    "verification is pure and shared by server and agent",
		Who:       []string{"registry/..."},
		Forbidden: []string{"core/...", "plugins/...", "web/..."},
		Fixture:   [2]string{"registry/client", "core/kernel/store"},
	},
	{
		Reason:    "the agent is small and static: no store, no API, no cgo",
		Who:       []string{"core/agent/...", "cmd/picket-agent"},
		Forbidden: []string{"core/kernel/store/...", "core/kernel/api/...", "github.com/gin-gonic/..."},
		Fixture:   [2]string{"core/agent", "core/kernel/store"},
	},
}

// serviceSiblings is the rule that services meet through the kernel's bus and small interfaces, not one another.
func serviceSibling(importer, imported string) bool {
	const root = "core/services/"
	if !strings.HasPrefix(importer, root) || !strings.HasPrefix(imported, root) {
		return false
	}
	a, _, _ := strings.Cut(strings.TrimPrefix(importer, root), "/")
	b, _, _ := strings.Cut(strings.TrimPrefix(imported, root), "/")
	return a != b
}

// violations returns one line for each import in graph (importer → imports) that breaks a rule.
func violations(rules []importRule, graph map[string][]string) []string {
	var out []string
	for importer, imports := range graph {
		who := inModule(importer)
		for _, imp := range imports {
			what := inModule(imp)
			for _, r := range rules {
				if matchAny(r.Who, who) && !matchAny(r.Except, who) && matchAny(r.Forbidden, what) && !matchAny(r.Allowed, what) {
					out = append(out, who+" imports "+what+": "+r.Reason)
				}
			}
			if serviceSibling(who, what) {
				out = append(out, who+" imports "+what+": services are siblings and never import one another")
			}
		}
	}
	slices.Sort(out)
	return out
}

func inModule(p string) string { return strings.TrimPrefix(strings.TrimPrefix(p, module), "/") }

func matchAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, p) })
}

func match(pattern, p string) bool {
	prefix, tree := strings.CutSuffix(pattern, "...")
	if !tree {
		return path.Clean(pattern) == p
	}
	prefix = strings.TrimSuffix(prefix, "/")
	return prefix == "" || p == prefix || strings.HasPrefix(p, prefix+"/")
}

// linkRule says what a program must not link, however far away the import is.
type linkRule struct {
	Reason    string
	Program   string
	Forbidden []string
}

var linkRules = []linkRule{
	{
		Reason:    "the core knows nothing of host metrics, SNMP, packets or WASM; plugins and helpers do",
		Program:   "cmd/picketd",
		Forbidden: []string{"github.com/shirou/gopsutil/...", "github.com/gosnmp/...", "github.com/gopacket/...", "github.com/google/gopacket/...", "github.com/tetratelabs/wazero/...", "internal/traffic/...", "plugins/..."},
	},
	{
		Reason:    "the agent is static and small",
		Program:   "cmd/picket-agent",
		Forbidden: []string{"github.com/duckdb/...", "github.com/mattn/go-sqlite3/...", "github.com/gin-gonic/...", "github.com/shirou/gopsutil/...", "github.com/gopacket/...", "github.com/tetratelabs/wazero/...", "github.com/prometheus/prometheus/...", "plugins/..."},
	},
	{
		Reason:    "the command line runs the signed detectors, not compiled-in copies",
		Program:   "cmd/picket",
		Forbidden: []string{"plugins/...", "github.com/duckdb/...", "github.com/gin-gonic/...", "github.com/prometheus/prometheus/..."},
	},
}

// linked returns the packages in deps that the rule forbids.
func (r linkRule) linked(deps []string) []string {
	var out []string
	for _, d := range deps {
		if matchAny(r.Forbidden, inModule(d)) {
			out = append(out, d)
		}
	}
	return out
}
