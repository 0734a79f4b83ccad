package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever goes wrong, there is a line that says what, and a code that tells a wrong call from a failure.
func TestExits(t *testing.T) {
	empty := t.TempDir()
	nowhere := filepath.Join(empty, "nowhere")
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a command that is not there":    {[]string{"bogus"}, exitUsage, `unknown command "bogus"`},
		"one that is nearly there":       {[]string{"plugin", "nwe"}, exitUsage, `"nwe" is no command of picket plugin: did you mean new?`},
		"one below another":              {[]string{"token", "zzz"}, exitUsage, "picket token --help"},
		"a flag that is not there":       {[]string{"plugin", "run", "--bogus"}, exitUsage, "Run 'picket plugin run --help' for usage."},
		"a flag that is missing":         {[]string{"plugin", "new", "acme/x"}, exitUsage, "--kind must be given"},
		"two flags that are missing":     {[]string{"registry", "init"}, exitUsage, "--dir and --keys must be given"},
		"a kind that is not there":       {[]string{"plugin", "new", "--kind", "dog", "acme/x"}, exitUsage, "want collector, discovery, detector, notifier, model or data"},
		"a name without a namespace":     {[]string{"plugin", "new", "--kind", "detector", "x"}, exitUsage, "NAMESPACE/NAME"},
		"an argument too few":            {[]string{"plugin", "build"}, exitUsage, "requires at least 1 arg"},
		"no capture":                     {[]string{"facts"}, exitUsage, "name at least one capture file, or - for standard input"},
		"half of a pair of flags":        {[]string{"plugin", "explain", "--server", "http://127.0.0.1:1", "acme/x"}, exitUsage, "--server needs --token-file too"},
		"two roots":                      {[]string{"plugin", "list", "--root", "a", "--root-sha256", "b"}, exitUsage, "give one of them"},
		"a tier that is not there":       {[]string{"plugin", "test", "--tier", "tin", empty}, exitUsage, "want bronze, silver or gold"},
		"a folder that is not there":     {[]string{"plugin", "build", nowhere}, exitFailed, "there is no folder"},
		"a folder without a plugin":      {[]string{"plugin", "run", empty}, exitFailed, "picket plugin new"},
		"no folder to test":              {[]string{"plugin", "test", nowhere}, exitFailed, "there is nothing at"},
		"nothing to test in a folder":    {[]string{"plugin", "test", empty}, exitFailed, "neither plugin.yaml nor release.json"},
		"no data folder":                 {[]string{"plugin", "replay", "list", "--data", nowhere}, exitFailed, "there is no data folder"},
		"no data folder for a list":      {[]string{"plugin", "list", "--data", nowhere}, exitFailed, "there is no data folder"},
		"an alert without a server":      {[]string{"replay", "--data", empty, "01a201cf-52d3-782e-b3d4-60fa3aa51a6c"}, exitFailed, "an alert is looked up in the picketd that raised it"},
		"a server that is not there":     {[]string{"token", "create", "--data", empty, "--role", "ADM"}, exitFailed, "no picketd answers there"},
		"a role that is not there":       {[]string{"token", "create", "--data", empty, "--role", "X"}, exitUsage, "--role must be one of"},
		"a language that is not there":   {[]string{"sdk", "path", "--lang", "cobol"}, exitUsage, "want go, python or rust"},
		"a capture that is not there":    {[]string{"flows", nowhere}, exitFailed, "no such file"},
		"a detector that is not named":   {[]string{"replay", "--data", empty, "main.go"}, exitUsage, "its folder with --dir"},
		"no command at all shows help":   {nil, 0, ""},
		"a group of commands shows help": {[]string{"plugin"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := run(t.Context(), c.args, &stderr); code != c.code || !strings.Contains(stderr.String(), c.want) {
				t.Errorf("ended with %d, want %d, and said\n%swant something about %q", code, c.code, stderr.String(), c.want)
			}
			if lines := strings.Count(stderr.String(), "\n"); c.code == exitFailed && lines != 1 {
				t.Errorf("%d lines, want one:\n%s", lines, stderr.String())
			}
		})
	}
}
