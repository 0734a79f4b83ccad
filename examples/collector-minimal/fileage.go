// Package fileage is the collector acme/file-age: what goes in are paths of files, what comes out is how long ago each
// was last written. A backup that stopped, or a job that no longer leaves its mark, shows as a line that only rises.
//
// It is also the smallest useful plugin: copy the folder, rename the package, and replace Collect.
package fileage

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Plugins register from init, because a WASM guest has no main.
func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "acme/file-age",
		Kind:    sdk.KindCollector,
		Summary: "Measures how long ago files were last written.",
		New:     func() sdk.Instance { return &Collector{} },
	}
}

// Config is what an operator sets. Its tags make the form on the page, the checks, and the table in the README; the
// manifest's permission refers to paths, so that filling in the form is also granting exactly these files.
type Config struct {
	Paths []string `json:"paths" required:"true" max:"100" doc:"Absolute paths of the files to watch."`
}

// Collector is one instance.
type Collector struct {
	config Config
	host   sdk.Host
}

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate checks what tags cannot say.
func (c *Collector) Validate() error {
	for i, path := range c.config.Paths {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			return sdk.Errorf(sdk.InvalidConfig, "paths[%d]: %q is not a clean absolute path", i, path)
		}
		if slices.Contains(c.config.Paths[:i], path) {
			return sdk.Errorf(sdk.InvalidConfig, "paths[%d]: %s is there twice", i, path)
		}
	}
	return nil
}

// Start keeps the host, whose clock is used below.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	return nil
}

// Collect emits one sample for each file that is there. One that is missing has no age: it is left out, and named in
// the error, while the others go on.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	var failed []error
	for _, path := range c.config.Paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		written, err := c.lastWritten(path)
		if err != nil {
			failed = append(failed, explain(err))
			continue
		}
		now := c.host.Now()
		err = sink.Sample(sdk.Sample{
			Metric: "acme.file.age", Unit: "s", Type: sdk.Gauge,
			Labels: map[string]string{"file.path": path}, // an attribute of the OpenTelemetry conventions
			Time:   now,
			Value:  now.Sub(written).Seconds(),
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// lastWritten asks the host to open the file: a plugin sees no files of the machine itself.
func (c *Collector) lastWritten(path string) (time.Time, error) {
	file, err := c.host.Open(path)
	if err != nil {
		return time.Time{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// explain gives an error the class by which the host decides what to do about it. One of the host has a class already.
func explain(err error) error {
	var classed *sdk.Error
	switch {
	case errors.As(err, &classed):
		return err
	case errors.Is(err, fs.ErrPermission):
		return sdk.Errorf(sdk.PermissionDenied, "%w", err)
	}
	return sdk.Errorf(sdk.Temporary, "%w", err)
}
