package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/agents/token"
)

func TestExitCodesAndOneLineErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := token.Enrolment{Server: "http://127.0.0.1:1", Secret: "hush", RootSHA256: strings.Repeat("ab", 32)}.String()
	odd, mine := filepath.Join(t.TempDir(), "odd.yaml"), filepath.Join(t.TempDir(), "agent.yaml")
	for path, text := range map[string]string{odd: "servr: http://x\n", mine: "data: /nowhere/agent\nqueue_size: 64MiB\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"help":                    {[]string{"--help"}, exitFine, ""},
		"version":                 {[]string{"--version"}, exitFine, ""},
		"unknown flag":            {[]string{"--nonsense"}, exitUsage, "unknown flag: --nonsense; see picket-agent --help"},
		"unknown command":         {[]string{"frobnicate"}, exitUsage, `unexpected argument "frobnicate"`},
		"flag without a value":    {[]string{"--token"}, exitUsage, "--token"},
		"not enrolled, no token":  {[]string{"--data", t.TempDir()}, exitUsage, "--server URL --token TOKEN"},
		"a server but no token":   {[]string{"--data", t.TempDir(), "--server", "http://127.0.0.1:1"}, exitUsage, "--server needs --token"},
		"server down":             {[]string{"--data", t.TempDir(), "--token", good}, exitFailed, "cannot reach the server at http://127.0.0.1:1"},
		"a token that is damaged": {[]string{"--data", t.TempDir(), "--token", "pkt_e30"}, exitFailed, "token"},
		"settings are not there":  {[]string{"--config", "/nowhere/agent.yaml"}, exitFailed, "/nowhere/agent.yaml"},
		"settings of another":     {[]string{"doctor", "--config", odd}, exitFailed, "servr"},
		"settings are used":       {[]string{"status", "--config", mine}, exitFailed, "no agent runs on the data folder /nowhere/agent"},
		"a flag wins":             {[]string{"status", "--config", mine, "--data", "/elsewhere"}, exitFailed, "no agent runs on the data folder /elsewhere"},
		"lifeline is not open":    {[]string{"--data", t.TempDir(), "--token", good, "--lifeline-fd", "987"}, exitFailed, "--lifeline-fd 987"},
		"token given twice":       {[]string{"--data", t.TempDir(), "--token", good, "--token-file", file}, exitUsage, "not both"},
		"token in no file":        {[]string{"--data", t.TempDir(), "--token-file", "/nowhere/token"}, exitFailed, "/nowhere/token"},
		"token file is empty":     {[]string{"--data", t.TempDir(), "--token-file", file}, exitUsage, "--token"},
		"status of nothing":       {[]string{"status", "--data", file}, exitFailed, "no agent runs on the data folder " + file},
		"data folder is a file":   {[]string{"--data", file, "--token", good}, exitFailed, file},
		"doctor of nothing":       {[]string{"doctor", "--data", t.TempDir()}, exitFailed, ""},
		"doctor with arguments":   {[]string{"doctor", "please"}, exitUsage, `unexpected argument "please"`},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(context.Background(), c.args, &out, &errs); code != c.code {
				t.Errorf("exit code %d, want %d; it printed %q", code, c.code, errs.String())
			}
			if c.says == "" {
				return
			}
			if text := errs.String(); !strings.Contains(text, c.says) || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "picket-agent: ") {
				t.Errorf("it printed %q, want one line with %q", text, c.says)
			}
			if strings.Contains(errs.String(), "hush") {
				t.Error("it printed the secret")
			}
		})
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for text, says := range map[string]string{
		"":                    "",
		"# nothing\n":         "",
		"queue_size: 64MiB\n": "",
		"queue_size: much\n":  "much",
		"queue_size: 5\n":     "at least 1MiB",
		"data: here\n":        "absolute",
		"colour: red\n":       "colour",
		"data: [\n":           "[",
	} {
		_, err := parseSettings([]byte(text))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", text, err, says)
		}
	}
}
