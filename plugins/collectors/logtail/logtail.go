// Package logtail is the collector picket/logtail: what goes in are log files that grow, are rotated and cut, what comes
// out is how many of their lines match each pattern, and the numbers that patterns find in them. The lines themselves
// stay where they are.
package logtail

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/logtail",
		Kind:    sdk.KindCollector,
		Summary: "Counts the lines of log files that match patterns, and measures the numbers in them.",
		New:     func() sdk.Instance { return New() },
	}
}

// Config is what an operator sets.
type Config struct {
	Files    []string          `json:"files" required:"true" min:"1" max:"50" doc:"Log files to follow, by their full path."`
	Patterns map[string]string `json:"patterns" max:"50" doc:"Patterns by name, as regular expressions of RE2. A group that is called value, (?P<value>…), finds a number."`
	MaxLine  int               `json:"max_line" default:"16384" min:"256" max:"1048576" doc:"Longest line in bytes; a longer one is dropped and counted."`
	MaxRead  int               `json:"max_read" default:"33554432" min:"4096" max:"1073741824" doc:"How many bytes of one file are read in one collection; of what is left the older part is skipped and counted."`
}

// Limits on what may be stated.
const (
	maxPattern     = 1024
	maxPatternName = 64
)

// Collector follows some files.
type Collector struct {
	config   Config
	host     sdk.Host
	patterns []pattern
	files    []*file
}

type pattern struct {
	name  string
	match *regexp.Regexp
	value int // the number of the group, -1 when there is none
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error {
	for i, name := range c.config.Files {
		if !path.IsAbs(name) || path.Clean(name) != name {
			return sdk.Errorf(sdk.InvalidConfig, "files[%d]: %q is not a clean absolute path", i, name)
		}
		if slices.Contains(c.config.Files[:i], name) {
			return sdk.Errorf(sdk.InvalidConfig, "files[%d]: %s is there twice", i, name)
		}
	}
	c.patterns = nil
	for _, name := range slices.Sorted(maps.Keys(c.config.Patterns)) {
		text := c.config.Patterns[name]
		if name == "" || len(name) > maxPatternName || len(text) > maxPattern {
			return sdk.Errorf(sdk.InvalidConfig, "patterns: a name has between 1 and %d bytes, a pattern at most %d", maxPatternName, maxPattern)
		}
		re, err := regexp.Compile(text)
		if err != nil {
			return sdk.Errorf(sdk.InvalidConfig, "patterns.%s: %w", name, err)
		}
		c.patterns = append(c.patterns, pattern{name, re, re.SubexpIndex("value")})
	}
	return nil
}

// stateKey is where the places up to which the files were read are kept over a restart.
const stateKey = "places"

// Start implements sdk.Starter. A file that was followed before is read on from where that ended, another from its end.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	kept, err := host.State().Get(stateKey)
	if err != nil {
		return err
	}
	places := map[string]place{}
	if kept != nil && json.Unmarshal(kept, &places) != nil {
		clear(places) // of a version that wrote something else
	}
	c.files = nil
	for _, name := range c.config.Files {
		f := newFile(name, c.config, c.patterns)
		if p, known := places[name]; known {
			f.resume(p)
		}
		c.files = append(c.files, f)
	}
	return nil
}

// Stop implements sdk.Stopper.
func (c *Collector) Stop(context.Context) error {
	for _, f := range c.files {
		f.close()
	}
	return nil
}

// Collect reads what the files have more than at the last time. One that is not there gives nothing.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	var failed []error
	for _, f := range c.files {
		err := f.read(ctx, c.host.Open)
		switch {
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), c.keep())
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			failed = append(failed, err)
			continue
		}
		out := measure.Samples{Time: c.host.Now(), Common: map[string]string{"log.file.path": f.name}}
		f.samples(&out)
		if err := out.Emit(sink); err != nil {
			return err
		}
	}
	return errors.Join(append(failed, c.keep())...)
}

func (c *Collector) keep() error {
	places := map[string]place{}
	for _, f := range c.files {
		if f.known {
			places[f.name] = f.place
		}
	}
	text, err := json.Marshal(places)
	if err != nil {
		return err
	}
	return c.host.State().Put(stateKey, text)
}
