package policy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

func descriptor(id string) *registry.Descriptor {
	return &registry.Descriptor{Manifest: registry.Manifest{ID: id, Version: "1.0.0", Kind: sdk.KindCollector}}
}

func perm(capability string, args ...string) []sdk.Permission {
	p := sdk.Permission{Cap: capability}
	for i := 0; i < len(args); i += 2 {
		if p.Args == nil {
			p.Args = map[string][]string{}
		}
		p.Args[args[i]] = append(p.Args[args[i]], args[i+1])
	}
	return []sdk.Permission{p}
}

const narrow = `
apiVersion: picket/v1
namespaces: [picket]
kinds: [collector]
permissions:
  - cap: net.dial
    args: {proto: tcp, to: [10.0.0.0/8, "*.example.com"], port: [22, 8000-8999]}
  - cap: net.raw
    args: {proto: [icmp, arp]}
deny_dial: [10.9.0.0/16, secret.example.com]
`

func TestCheck(t *testing.T) {
	file, err := Parse([]byte(narrow))
	if err != nil {
		t.Fatal(err)
	}
	builtIn := Default()
	for name, c := range map[string]struct {
		ceiling *Ceiling
		id      string
		kind    sdk.Kind
		grants  []sdk.Permission
		want    string // part of the message; "" when allowed
	}{
		"nothing granted":           {builtIn, "acme/x", "", nil, ""},
		"state is always free":      {file, "picket/x", "", perm("state"), ""},
		"read flows":                {builtIn, "acme/x", "", perm("flows.read"), ""},
		"read facts":                {builtIn, "acme/x", "", perm("facts.read", "kinds", "dns"), ""},
		"ping":                      {builtIn, "acme/x", "", perm("net.raw", "proto", "icmp"), ""},
		"raw frames":                {builtIn, "acme/x", "", perm("net.raw", "proto", "arp"), "net.raw(proto=arp)"},
		"all raw sockets":           {builtIn, "acme/x", "", perm("net.raw"), "net.raw"},
		"run programs":              {builtIn, "acme/x", "", perm("exec", "paths", "/bin/sh"), "exec"},
		"act":                       {builtIn, "acme/x", "", perm("act"), "act"},
		"a daemon's socket":         {builtIn, "acme/x", "", perm("unix.connect", "path", "/run/docker.sock"), "unix.connect"},
		"read /proc/net":            {builtIn, "acme/x", "", perm("fs.read", "paths", "/proc/net"), ""},
		"read /etc":                 {builtIn, "acme/x", "", perm("fs.read", "paths", "/etc/shadow"), "fs.read"},
		"read /process":             {builtIn, "acme/x", "", perm("fs.read", "paths", "/process"), "fs.read"},
		"read everything":           {builtIn, "acme/x", "", perm("fs.read"), "fs.read"},
		"climb out of /proc":        {builtIn, "acme/x", "", perm("fs.read", "paths", "/proc/../etc"), "/proc/../etc"},
		"dial":                      {builtIn, "acme/x", "", perm("net.dial", "to", "192.168.1.1"), ""},
		"dial anything":             {builtIn, "acme/x", "", perm("net.dial", "proto", "tcp"), "names no destination"},
		"dial nothing":              {builtIn, "acme/x", "", []sdk.Permission{{Cap: "net.dial", Args: map[string][]string{"to": {}}}}, ""},
		"dial a name":               {builtIn, "acme/x", "", perm("net.dial", "to", "hooks.example.com:443"), ""},
		"metadata service":          {builtIn, "acme/x", "", perm("net.dial", "to", "169.254.169.254"), "169.254.0.0/16"},
		"metadata service, port":    {builtIn, "acme/x", "", perm("net.dial", "to", "169.254.169.254:80"), "169.254.0.0/16"},
		"metadata service, URL":     {builtIn, "acme/x", "", perm("net.dial", "to", "http://169.254.169.254/latest"), "169.254.0.0/16"},
		"metadata service, mapped":  {builtIn, "acme/x", "", perm("net.dial", "to", "::ffff:169.254.169.254"), "169.254.0.0/16"},
		"metadata service, in v6":   {builtIn, "acme/x", "", perm("net.dial", "to", "[::ffff:169.254.169.254]:80"), "169.254.0.0/16"},
		"metadata service, by name": {builtIn, "acme/x", "", perm("net.dial", "to", "Metadata.Google.Internal."), "metadata.google.internal"},
		"metadata service, pattern": {builtIn, "acme/x", "", perm("net.dial", "to", "*.google.internal"), "metadata.google.internal"},
		"a range around it":         {builtIn, "acme/x", "", perm("net.dial", "to", "0.0.0.0/0"), "169.254.0.0/16"},
		"a range around it, v6":     {builtIn, "acme/x", "", perm("net.dial", "to", "::/0"), "fe80::/10"},
		"link-local v6":             {builtIn, "acme/x", "", perm("net.dial", "to", "fe80::1"), "fe80::/10"},
		"unknown permission":        {builtIn, "acme/x", "", perm("everything"), "everything"},
		"unresolved reference":      {builtIn, "acme/x", "", perm("net.raw", "proto", "${config.proto}"), "net.raw"},

		"foreign namespace":     {file, "acme/x", "", nil, `"acme"`},
		"foreign kind":          {file, "picket/x", sdk.KindDetector, nil, "detector"},
		"within the file":       {file, "picket/x", "", perm("net.dial", "proto", "tcp", "to", "10.1.2.3", "port", "22"), ""},
		"within, range":         {file, "picket/x", "", perm("net.dial", "proto", "tcp", "to", "a.example.com", "port", "8080-8090"), ""},
		"other protocol":        {file, "picket/x", "", perm("net.dial", "proto", "udp", "to", "10.1.2.3", "port", "22"), "udp"},
		"no protocol":           {file, "picket/x", "", perm("net.dial", "to", "10.1.2.3", "port", "22"), "net.dial"},
		"other port":            {file, "picket/x", "", perm("net.dial", "proto", "tcp", "to", "10.1.2.3", "port", "23"), "23"},
		"other address":         {file, "picket/x", "", perm("net.dial", "proto", "tcp", "to", "11.0.0.1", "port", "22"), "11.0.0.1"},
		"denied inside":         {file, "picket/x", "", perm("net.dial", "proto", "tcp", "to", "10.9.1.1", "port", "22"), "10.9.0.0/16"},
		"denied inside, name":   {file, "picket/x", "", perm("net.dial", "proto", "tcp", "to", "secret.example.com", "port", "22"), "deny_dial"},
		"wider than the file":   {file, "picket/x", "", perm("net.dial", "proto", "tcp", "to", "10.0.0.0/7", "port", "22"), "10.0.0.0/7"},
		"not in the file":       {file, "picket/x", "", perm("flows.read"), "flows.read"},
		"more than the default": {file, "picket/x", "", perm("net.raw", "proto", "arp"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			kind := c.kind
			if kind == "" {
				kind = sdk.KindCollector
			}
			err := c.ceiling.Check(descriptor(c.id), kind, c.grants)
			if c.want == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var r *registry.Refusal
			if !errors.As(err, &r) || r.Reason != registry.BeyondCeiling || r.Plugin != c.id {
				t.Fatalf("got %v", err)
			}
			for _, part := range []string{c.want, c.id, c.ceiling.Source(), "policy.yaml"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the message does not name %q: %v", part, err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                     "",
		"no version":                "kinds: [collector]",
		"other version":             "apiVersion: picket/v2",
		"unknown key":               "apiVersion: picket/v1\nnamespace: [x]",
		"bad namespace":             "apiVersion: picket/v1\nnamespaces: [../x]",
		"bad kind":                  "apiVersion: picket/v1\nkinds: [dog]",
		"unknown permission":        "apiVersion: picket/v1\npermissions: [{cap: everything}]",
		"unknown argument":          "apiVersion: picket/v1\npermissions: [{cap: net.raw, args: {layer: icmp}}]",
		"reference":                 "apiVersion: picket/v1\npermissions: [{cap: net.dial, args: {to: \"${config.x}\"}}]",
		"bad range":                 "apiVersion: picket/v1\ndeny_dial: [10.0.0.0/99]",
		"bad destination":           "apiVersion: picket/v1\ndeny_dial: [\"a b\"]",
		"anchor":                    "apiVersion: picket/v1\nkinds: &a [collector]",
		"permissions, then nothing": "apiVersion: picket/v1\npermissions:\n",
		"a list at the top":         "- a",
		"kinds that are a map":      "apiVersion: picket/v1\nkinds: {a: b}",
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := Parse([]byte(text)); err == nil {
				t.Errorf("accepted %+v", c)
			}
		})
	}
}

func TestEmptyListsAllowNothing(t *testing.T) {
	c, err := Parse([]byte("apiVersion: picket/v1\nnamespaces: []\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Check(descriptor("picket/x"), sdk.KindCollector, nil) == nil {
		t.Error("an empty list of namespaces allows all")
	}
	if c.CheckFile("picket/x", "1.0.0") == nil {
		t.Error("an empty list of namespaces allows all models")
	}
	c, err = Parse([]byte("apiVersion: picket/v1\npermissions: []\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Check(descriptor("picket/x"), sdk.KindCollector, perm("flows.read")) == nil {
		t.Error("an empty list of permissions allows all")
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if c, err := Find(path); err != nil || c.Source() != "the built-in default" {
		t.Errorf("no file: %v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte(narrow), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Find(filepath.Join(t.TempDir(), "none.yaml"), path)
	if err != nil || c.Source() != path {
		t.Fatalf("%v, %v", c, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(path); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a file that everybody may write: %v", err)
	}
	if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte("apiVersion: picket/v1\nextra: 1\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "extra") || !strings.Contains(err.Error(), "docs/configuration.md") {
		t.Errorf("a file with an unknown key: %v", err)
	}
}

// FuzzParse: whatever a file says, it never lets a grant through that no line of it covers.
func FuzzParse(f *testing.F) {
	f.Add([]byte(narrow))
	f.Add([]byte("apiVersion: picket/v1\npermissions: [{cap: net.dial, args: {port: 1-2, to: [a.b, 1.2.3.4/5]}}]\ndeny_dial: [::1]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		if c.Check(descriptor("picket/x"), sdk.KindCollector, perm("exec", "paths", "/bin/sh")) != nil {
			return
		}
		covered := false
		for _, p := range c.permissions {
			covered = covered || p.Cap == sdk.CapExec
		}
		if !covered {
			t.Error("allowed exec, which the file does not mention")
		}
	})
}

func TestConfinementKeys(t *testing.T) {
	const head = "apiVersion: picket/v1\n"
	for name, c := range map[string]struct{ text, want string }{
		"all":                   {"minimum_level: B\nunenforced: allow\ninterpreters: {python3: /opt/p/bin/python3}\n", ""},
		"a level that is none":  {"minimum_level: D\n", "minimum_level"},
		"unenforced maybe":      {"unenforced: maybe\n", "unenforced"},
		"unknown interpreter":   {"interpreters: {perl: /usr/bin/perl}\n", "interpreters"},
		"interpreter, relative": {"interpreters: {python3: bin/python3}\n", "clean absolute path"},
		"interpreter, unclean":  {"interpreters: {python3: /usr/../bin/python3}\n", "clean absolute path"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse([]byte(head + c.text))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			program, ok := p.Interpreter("python3")
			if p.MinimumLevel() != "B" || !p.AllowsUnenforced() || !ok || program != "/opt/p/bin/python3" {
				t.Errorf("%+v", p)
			}
		})
	}
	d := Default()
	if _, ok := d.Interpreter("python3"); ok || d.MinimumLevel() != "B" || d.AllowsUnenforced() {
		t.Errorf("the default: %+v", d)
	}
}

// An author's interpreter serves where the node names none, and never instead of the node's.
func TestWithInterpreter(t *testing.T) {
	named, err := Parse([]byte("apiVersion: picket/v1\ninterpreters: {python3: /opt/node/python3}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ceiling       *Ceiling
		program, want string
	}{
		"none named":   {Default(), "/home/a/.venv/bin/python3", "/home/a/.venv/bin/python3"},
		"one named":    {named, "/home/a/.venv/bin/python3", "/opt/node/python3"},
		"relative":     {Default(), "python3", ""},
		"not in order": {Default(), "/opt/../bin/python3", ""},
	} {
		t.Run(name, func(t *testing.T) {
			with := c.ceiling.WithInterpreter("python3", c.program)
			if got, _ := with.Interpreter("python3"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if _, ok := Default().Interpreter("python3"); ok {
		t.Error("the default has changed")
	}
}

// What only the registry's online key vouches for does not run unless the machine's owner says so.
func TestRecentNamespaces(t *testing.T) {
	for text, want := range map[string]bool{"": false, "recent: refuse": false, "recent: allow": true} {
		c, err := Parse([]byte("apiVersion: picket/v1\n" + text + "\n"))
		if err != nil || c.AllowsRecent() != want {
			t.Errorf("%q: %v, %v", text, c.AllowsRecent(), err)
		}
	}
	if Default().AllowsRecent() {
		t.Error("the default allows recent namespaces")
	}
	if _, err := Parse([]byte("apiVersion: picket/v1\nrecent: perhaps\n")); err == nil {
		t.Error("accepted a word that means nothing")
	}
}
