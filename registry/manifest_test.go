package registry

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/sdk"
)

const goodManifest = `
apiVersion: picket/v1
id: picket/portscan
version: 0.1.0
kind: detector
title: Port scan
summary: Finds hosts that probe many ports or many hosts.
license: Apache-2.0
homepage: https://github.com/picketwatch/picket
protocol: [1]
runtimes: [process, wasm]
permissions:
  - cap: net.dial
    args: {proto: udp, to: "${config.targets}", port: 161}
    reason: It asks the devices that you list.
  - cap: flows.read
    reason: It judges flows.
limits: {memory: 64Mi, cpu: 0.5, deadline: 5s, records_per_second: 100, open_files: 64, log_lines_per_second: 5}
techniques: [T1046, T1071.001]
tags: [network]
`

func TestParseManifest(t *testing.T) {
	m, err := ParseManifest([]byte(goodManifest))
	if err != nil {
		t.Fatal(err)
	}
	want := &Manifest{
		APIVersion: "picket/v1", ID: "picket/portscan", Version: "0.1.0", Kind: sdk.KindDetector, Title: "Port scan",
		Summary: "Finds hosts that probe many ports or many hosts.", License: "Apache-2.0",
		Homepage: "https://github.com/picketwatch/picket", Protocol: []int{1}, Runtimes: []string{"process", "wasm"},
		Permissions: []sdk.Permission{
			{Cap: "net.dial", Reason: "It asks the devices that you list.",
				Args: map[string][]string{"proto": {"udp"}, "to": {"${config.targets}"}, "port": {"161"}}},
			{Cap: "flows.read", Reason: "It judges flows."},
		},
		Limits:     Limits{Memory: "64Mi", CPU: 0.5, Deadline: "5s", RecordsPerSecond: 100, OpenFiles: 64, LogLinesPerSecond: 5},
		Techniques: []string{"T1046", "T1071.001"}, Tags: []string{"network"},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	if n, err := m.Limits.MemoryBytes(); err != nil || n != 64<<20 {
		t.Errorf("memory %d, %v", n, err)
	}
}

// Each change to a good manifest must be refused with a message that names the place.
func TestParseManifestRefuses(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":            {"tags:", "tag:", `unknown key "tag"`},
		"unknown key inside":     {"memory:", "memroy:", `unknown key "memroy"`},
		"key twice":              {"tags: [network]", "tags: [network]\ntags: [x]", "already defined"},
		"anchor":                 {"tags: [network]", "tags: &a [network]", "anchors"},
		"alias bomb":             {"tags: [network]", "x: &a [y]\ntags: *a", "anchors"},
		"merge key":              {"limits: {memory: 64Mi, ", "limits:\n  <<: {memory: 64Mi}\nx: {", "merge keys"},
		"tag":                    {"version: 0.1.0", "version: !!str 0.1.0", "tags such as"},
		"two documents":          {"tags: [network]", "tags: [network]\n---\na: b", "more than one document"},
		"version as a number":    {"version: 0.1.0", "version: 0.1", "version: expected string"},
		"version not semantic":   {"version: 0.1.0", "version: v1", "semantic version"},
		"version with a build":   {"version: 0.1.0", "version: 0.1.0+x", "semantic version"},
		"version with a path":    {"version: 0.1.0", "version: ../../etc", "semantic version"},
		"foreign api":            {"picket/v1", "picket/v9", "apiVersion"},
		"id with a path":         {"id: picket/portscan", "id: picket/../x", "id:"},
		"unknown kind":           {"kind: detector", "kind: dog", "kind:"},
		"no summary":             {"summary: Finds hosts that probe many ports or many hosts.", "", "summary: is missing"},
		"control character":      {"title: Port scan", `title: "Port\u001b[31mscan"`, "U+001B"},
		"text that runs back":    {"title: Port scan", `title: "Port\u202escan"`, "U+202E"},
		"no runtime":             {"runtimes: [process, wasm]", "runtimes: []", "runtimes:"},
		"runtime twice":          {"runtimes: [process, wasm]", "runtimes: [wasm, wasm]", "twice"},
		"unknown permission":     {"cap: flows.read", "cap: everything", "everything"},
		"unknown argument":       {"proto: udp", "protocol: udp", "protocol"},
		"argument of a map":      {"port: 161", "port: {a: 1}", "permissions[0].args.port"},
		"permission, no reason":  {"reason: It judges flows.", "", "reason: is missing"},
		"memory nonsense":        {"64Mi", "lots", "limits.memory"},
		"no processor":           {"cpu: 0.5", "cpu: -1", "limits.cpu"},
		"too many processors":    {"cpu: 0.5", "cpu: 5000", "limits.cpu"},
		"deadline nonsense":      {"deadline: 5s", "deadline: soon", "limits.deadline"},
		"deadline too long":      {"deadline: 5s", "deadline: 2h", "limits.deadline"},
		"no records":             {"records_per_second: 100", "records_per_second: -1", "limits.records_per_second"},
		"too few files":          {"open_files: 64", "open_files: 3", "limits.open_files"},
		"too many lines":         {"log_lines_per_second: 5", "log_lines_per_second: 1000000", "limits.log_lines_per_second"},
		"unknown interpreter":    {"tags: [network]", "interpreter: perl", "interpreter:"},
		"pack that is its own":   {"tags: [network]", "pack: cmd", "pack:"},
		"pack of the whole disk": {"tags: [network]", "pack: /srv/packs", "pack:"},
		"pack that goes astray":  {"tags: [network]", "pack: ../x/../../packs/y", "pack:"},
		"pack without a folder":  {"tags: [network]", "pack: ../..", "pack:"},
		"pack of a guest":        {"runtimes: [process, wasm]", "pack: ../packs/x\nruntimes: [wasm]", "only for programs of the runtime process"},
		"guest and interpreter":  {"runtimes: [process, wasm]", "interpreter: python3\nruntimes: [wasm]", "only for the runtime process"},
		"memory negative":        {"64Mi", "-1Mi", "limits.memory"},
		"technique nonsense":     {"T1071.001", "T10", "techniques"},
		"homepage not on a web":  {"https://github.com/picketwatch/picket", "javascript:alert(1)", "homepage"},
		"metrics on a detector":  {"tags: [network]", "metrics: [a.b]", "metrics: only"},
		"protocol zero":          {"protocol: [1]", "protocol: [0]", "protocol:"},
		"deeply nested":          {"tags: [network]", "tags: " + strings.Repeat("[", 200) + strings.Repeat("]", 200), "nested"},
		"text after the mapping": {"tags: [network]", "tags: [network]\n- a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(goodManifest, c.old, c.new, 1)
			if text == goodManifest {
				t.Fatal("the case changes nothing")
			}
			m, err := ParseManifest([]byte(text))
			if err == nil {
				t.Fatalf("accepted %+v", m)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("message %q does not say %q", err, c.want)
			}
		})
	}
}

func TestParseManifestReportsAllProblems(t *testing.T) {
	_, err := ParseManifest([]byte("apiVersion: picket/v1\nid: BAD\nversion: x\n"))
	for _, want := range []string{"id:", "version:", "kind:", "title:", "summary:", "license:", "protocol:", "runtimes:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the message does not mention %s: %v", want, err)
		}
	}
}

func TestFirstPartyManifestsParse(t *testing.T) {
	files, _ := filepath.Glob("../plugins/*/*/plugin.yaml")
	if len(files) == 0 {
		t.Skip("no plugins in this tree")
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseManifest(data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// FuzzParseManifest: what is accepted survives the way through JSON, which is how it travels in a descriptor.
func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(goodManifest))
	f.Add([]byte("a: [b, {c: d}]\n"))
	f.Add([]byte("? x\n: y\n"))
	f.Add([]byte("<<: *a\nb: &a c"))
	f.Add([]byte("a: |\n  text\n# comment\n--- \n...\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			return
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back Manifest
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if err := back.check(); err != nil {
			t.Errorf("accepted, but not after a round trip: %v", err)
		}
	})
}
