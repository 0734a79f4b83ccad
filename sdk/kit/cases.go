package kit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Case is a capture and what a detector must find in it, or an observer see.
type Case struct {
	Name   string
	Folder string
	Config json.RawMessage // nil for the one of the options
	Frames []byte          // the capture as record frames
	Want   []byte          // want.json; nil when there is none yet
}

// ErrNoCommand says that nothing can turn captures into records.
var ErrNoCommand = errors.New("there is no picket command: set PICKET_BIN, or run make build")

// ReadCases reads each folder below dir that holds a capture: input.pcap or .pcapng, either with .gz or .zst. Beside it
// lie want.json and, where the defaults do not do, config.json. The capture is turned into records by the picket
// command, the engine of production: the one that PICKET_BIN names, or bin/picket in a folder above, or one run from the
// sources above, or one in the PATH.
func ReadCases(ctx context.Context, dir string, subscription sdk.Subscription) ([]Case, error) {
	inputs, err := filepath.Glob(filepath.Join(dir, "*", "input.*"))
	if err != nil {
		return nil, err
	}
	var out []Case
	for _, input := range inputs {
		c := Case{Folder: filepath.Dir(input)}
		c.Name = filepath.Base(c.Folder)
		if c.Config, err = optional(filepath.Join(c.Folder, "config.json")); err != nil {
			return nil, err
		}
		if c.Want, err = optional(filepath.Join(c.Folder, "want.json")); err != nil {
			return nil, err
		}
		if c.Frames, err = framesOf(ctx, input, subscription); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func optional(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Run returns what a detector finds in the case, sorted.
func (c Case) Run(ctx context.Context, s Subject, o Options) ([]sdk.Finding, error) {
	e, err := c.shown(ctx, s, o)
	return sorted(e.Findings), err
}

// Observe returns what an observer sees in the case, sorted.
func (c Case) Observe(ctx context.Context, s Subject, o Options) ([]sdk.Sighting, error) {
	e, err := c.shown(ctx, s, o)
	return sortedSightings(e.Sightings), err
}

// Compare returns where the findings differ from want.json, "" when nowhere.
func (c Case) Compare(got []sdk.Finding) string { return compareWant(c.Want, "finding", got) }

// CompareSightings is Compare for what an observer saw.
func (c Case) CompareSightings(got []sdk.Sighting) string {
	return compareWant(c.Want, "sighting", got)
}

func (c Case) shown(ctx context.Context, s Subject, o Options) (emitted, error) {
	b := &bench{subject: s, o: o.withDefaults()}
	about, err := b.describe(ctx)
	if err != nil {
		return emitted{}, err
	}
	b.about = about
	return c.run(ctx, b)
}

// run shows the capture to a fresh instance.
func (c Case) run(ctx context.Context, b *bench) (e emitted, err error) {
	own := *b
	if c.Config != nil {
		own.o.Config = c.Config
	}
	var frames [][]byte
	for data := c.Frames; len(data) > 0; {
		frame, rest, err := records.Next(data)
		if err != nil {
			return e, fmt.Errorf("what the picket command printed: %w", err)
		}
		frames, data = append(frames, frame), rest
	}
	r := &result{}
	own.configured(ctx, r, func(s Session) { err = own.inspect(ctx, s, frames, true, &e) })
	if err == nil && len(r.fails) > 0 {
		err = errors.New(r.fails[0])
	}
	return e, err
}

// differs runs the case and returns where what the subject says differs from want.json.
func (c Case) differs(ctx context.Context, b *bench) (string, error) {
	e, err := c.run(ctx, b)
	switch {
	case err != nil:
		return "", err
	case b.about.Observes:
		return c.CompareSightings(sortedSightings(e.Sightings)), nil
	}
	return c.Compare(sorted(e.Findings)), nil
}

// defaultSnapLen is what a subscription without one means.
const defaultSnapLen = 256

// framesOf lets the picket command turn a capture into record frames.
func framesOf(ctx context.Context, input string, subscription sdk.Subscription) ([]byte, error) {
	command := picket()
	if command == nil {
		return nil, ErrNoCommand
	}
	input, err := filepath.Abs(input)
	if err != nil {
		return nil, err
	}
	var out, errOut bytes.Buffer
	for _, args := range printing(subscription) {
		cmd := exec.CommandContext(ctx, command[0], slices.Concat(command[1:], args, []string{input})...)
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", cmd, err, errOut.Bytes())
		}
	}
	return out.Bytes(), nil
}

// printing are the arguments that make the picket command print what a subscription names. Facts and flows come as in
// production: a fact before its flow, and both as far as the capture was read.
func printing(s sdk.Subscription) [][]string {
	var out [][]string
	flows := []string{"flows", "--format", "frames"}
	if p := s.Packets; p != nil {
		snap := p.SnapLen
		if snap == 0 {
			snap = defaultSnapLen
		}
		out = append(out, append(slices.Clone(flows), fmt.Sprintf("--packets=%s:%d", strings.Join(p.Layers, ","), snap)))
	}
	facts := []string{"facts", "--kind", strings.Join(s.Facts, ","), "--format", "frames"}
	switch {
	case len(s.Facts) > 0 && s.Flows:
		flows = append(facts, "--flows")
	case len(s.Facts) > 0:
		return append(out, facts)
	case !s.Flows:
		return out
	}
	if s.Features {
		flows = append(flows, "--features")
	}
	return append(out, flows)
}

// picket returns how the command is started, nil when there is none.
func picket() []string {
	if bin := os.Getenv("PICKET_BIN"); bin != "" {
		return []string{bin}
	}
	root := sourceRoot()
	if root == "" {
		bin, err := exec.LookPath("picket")
		if err != nil {
			return nil
		}
		return []string{bin}
	}
	if bin := filepath.Join(root, "bin", "picket"); isFile(bin) {
		return []string{bin}
	}
	return []string{"go", "-C", root, "run", "./cmd/picket"} // kept in the build cache
}

// sourceRoot returns the folder above with the sources of Picket, "" when there is none.
func sourceRoot() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if isFile(filepath.Join(dir, "cmd", "picket", "main.go")) && isFile(filepath.Join(dir, "go.work")) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
