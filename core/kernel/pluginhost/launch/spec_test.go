package launch

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommandLineRoundTrip(t *testing.T) {
	want := Spec{
		Parent: 42, Lifeline: 4, Gate: 6, Keep: []int{3, 5}, Name: "picket/host",
		Limits:  []Limit{{OpenFiles, 256}, {FileSize, 1 << 30}, {Data, 1 << 29}, {Tasks, 64}},
		Program: "/proc/self/fd/3", Args: []string{"--cache", "-- odd --"},
	}
	got, err := Parse(want.CommandLine())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"nothing":            {"", "no program"},
		"no program":         {"--lifeline-fd 4 --", "no program"},
		"value missing":      {"--lifeline-fd", "needs a value"},
		"standard output":    {"--keep-fd 1 -- /bin/true", "from 3 on"},
		"gate is no number":  {"--gate-fd x -- /bin/true", "--gate-fd"},
		"not a number":       {"--lifeline-fd x -- /bin/true", "--lifeline-fd"},
		"unknown option":     {"--root / -- /bin/true", "unknown option --root"},
		"unknown limit":      {"--rlimit-stack 1 -- /bin/true", "unknown option --rlimit-stack"},
		"negative limit":     {"--rlimit-nofile -1 -- /bin/true", "--rlimit-nofile"},
		"parent is nobody":   {"--parent 0 -- /bin/true", "positive"},
		"option after value": {"--parent 1 4 -- /bin/true", "unknown option 4"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(strings.Fields(c.line))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// FuzzParse: what is taken means the same when it is written and read again.
func FuzzParse(f *testing.F) {
	f.Add("--parent\n1\n--gate-fd\n7\n--rlimit-data\n4096\n--\n/bin/true\nx")
	f.Add("--keep-fd\n3\n--name\n\n--\n/x")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := Parse(strings.Split(line, "\n"))
		if err != nil {
			return
		}
		again, err := Parse(s.CommandLine())
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Args) == 0 {
			s.Args, again.Args = nil, nil
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
