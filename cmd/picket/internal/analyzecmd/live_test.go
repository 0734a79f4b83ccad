package analyzecmd

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/sdk"
)

func ignore([]sdk.Flow) error { return nil }

// output analyses what a script writes.
func output(ctx context.Context, script string) (traffic.Summary, error) {
	return analyzeOutput(ctx, exec.Command("sh", "-c", script), func(in *os.File) (traffic.Summary, error) {
		return traffic.AnalyzeOpen(context.Background(), in, traffic.Options{}, nil, ignore)
	})
}

func TestACaptureIsAnalysedAsItComes(t *testing.T) {
	want, err := traffic.AnalyzeFile(t.Context(), scan, traffic.Options{}, nil, ignore)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := output(t.Context(), "cat "+scan)
	if err != nil || sum.Packets != want.Packets || sum.Flows != want.Flows {
		t.Errorf("%+v, %v", sum, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // which asks the script to end
	if sum, err = output(ctx, "trap 'exit 0' TERM; cat "+scan+"; while :; do sleep 0.05; done"); err != nil || sum.Packets != want.Packets {
		// A signal that comes before the trap ends it earlier.
		if err == nil || !strings.Contains(err.Error(), "the capture failed") {
			t.Errorf("%+v, %v", sum, err)
		}
	}
	for says, script := range map[string]string{
		"the capture failed: exit status 3": "exit 3",
		"not a capture":                     "printf %0100d 1; exec sleep 20",
	} {
		if _, err := output(t.Context(), script); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestInterfacesAreAskedForRightly(t *testing.T) {
	for says, args := range map[string][]string{"name at least one capture": {}, "--for needs --interface": {"--for", "1s", scan}, "over before it begins": {"-i", "lo", "--for", "-1s"},
		"is a file: with --interface": {"-i", "lo", "--for", "1s", scan}} {
		cmd := New()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
