package policy

import (
	"strings"
	"testing"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestCommandsOfANode(t *testing.T) {
	c, err := Parse([]byte("apiVersion: picket/v1\ncommands:\n  refuse: [restart-agent]\n  exec:\n    - {path: /bin/true, sha256: " + digest + ", args: [--all, a b]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.AllowsCommand("restart-agent") || !c.AllowsCommand("ping") {
		t.Error("restart-agent is refused here, ping is not")
	}
	if e, ok := c.Exec("/bin/true", []string{"--all", "a b"}); !ok || e.SHA256 != digest {
		t.Error("the program that the owner named is not found")
	}
	for _, args := range [][]string{nil, {"--all"}, {"--all", "a", "b"}, {"--all", "a b", "c"}, {"--all a b"}} {
		if _, ok := c.Exec("/bin/true", args); ok {
			t.Errorf("found with the arguments %q", args)
		}
	}
	if _, ok := Default().Exec("/bin/true", nil); ok {
		t.Error("the default runs programs")
	}
	for text, says := range map[string]string{
		"exec: [{path: bin/true, sha256: " + digest + "}]":         "clean absolute path",
		"exec: [{path: /bin/../bin/true, sha256: " + digest + "}]": "clean absolute path",
		"exec: [{path: /bin/true}]":                                "sha256sum /bin/true",
		"exec: [{path: /bin/true, sha256: xyz}]":                   "not a SHA-256",
		"run: [all]":                                               "unknown key",
	} {
		if _, err := Parse([]byte("apiVersion: picket/v1\ncommands: {" + text + "}\n")); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", text, err, says)
		}
	}
}
