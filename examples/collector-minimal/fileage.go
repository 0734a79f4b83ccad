// Package fileage is the collector acme/file-age: what goes in are paths of files, what comes out is how long ago each
// was last written. A backup that stopped, or a job that no longer leaves its mark, shows as a line that only rises.
//
// It is also the smallest useful plugin: copy the folder, rename the package, and replace Collect.
package fileage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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
		info, err := os.Stat(path)
		if err != nil {
			failed = append(failed, explain(err))
			continue
		}
		now := c.host.Now()
		err = sink.Sample(sdk.Sample{
			Metric: "acme.file.age", Unit: "s", Type: sdk.Gauge,
			Labels: map[string]string{"file.path": path}, // an attribute of the OpenTelemetry conventions
			Time:   now,
			Value:  now.Sub(info.ModTime()).Seconds(),
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// explain gives an error the class by which the host decides what to do about it.
func explain(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return sdk.Errorf(sdk.PermissionDenied, "%w", err)
	}
	return sdk.Errorf(sdk.Temporary, "%w", err)
}
