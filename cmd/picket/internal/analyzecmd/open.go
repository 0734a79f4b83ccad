package analyzecmd

import (
	"context"
	"errors"
	"os"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Detectors are detectors of a registry that judge one capture after the other, for other commands.
type Detectors struct{ plugins *plugins }

// Open verifies the registry, that beside this program when base is "", and installs and starts the detectors, named by id or name.
func Open(ctx context.Context, base, runtime string, names []string) (*Detectors, error) {
	return open(ctx, base, runtime, names, nil)
}

// OpenConfigured is Open for one detector with a configuration of its own.
func OpenConfigured(ctx context.Context, base, runtime, name string, config []byte) (*Detectors, error) {
	return open(ctx, base, runtime, []string{name}, config)
}

func open(ctx context.Context, base, runtime string, names []string, config []byte) (*Detectors, error) {
	p, err := openPlugins(ctx, base, runtime, names)
	if err != nil {
		return nil, err
	}
	p.config = config
	d := &Detectors{plugins: p}
	if p.state, err = os.MkdirTemp("", "picket-detectors-"); err == nil { // what an earlier run remembered is not theirs to know
		err = p.start(ctx)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Manifests are those of the detectors, ordered by id.
func (d *Detectors) Manifests() []registry.Manifest {
	var out []registry.Manifest
	for _, id := range d.plugins.wanted {
		if installed, ok := d.plugins.client.Installed(id); ok {
			out = append(out, installed.Descriptor.Manifest)
		}
	}
	return out
}

// Judge returns the findings of all of them in a capture. One that breaks off is judged up to there, and damaged says where.
func (d *Detectors) Judge(ctx context.Context, file string) (findings []sdk.Finding, damaged, err error) {
	_, findings, err = judge(ctx, d.plugins, batchFor(d.plugins.runtime), file, traffic.AnalyzeFile, false, nil)
	if as := (*capture.DamagedError)(nil); errors.As(err, &as) {
		return findings, err, nil
	}
	return findings, nil, err
}

// Close stops the detectors and forgets what they remembered.
func (d *Detectors) Close() {
	d.plugins.Close()
	if d.plugins.state != "" {
		os.RemoveAll(d.plugins.state)
	}
}
