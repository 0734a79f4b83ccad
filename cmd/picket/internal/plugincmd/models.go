package plugincmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// readModels reads ID=FILE pairs: what stands for the models and data packs that a plugin requires.
func readModels(list []string) (map[string]string, error) {
	models := map[string]string{}
	for _, text := range list {
		id, file, ok := strings.Cut(text, "=")
		if !ok || !sdk.ValidID(id) {
			return nil, usage.Errorf("--model %q: want NAMESPACE/NAME=FILE", text)
		}
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			return nil, usage.Errorf("--model %s: there is no file %s", id, file)
		}
		models[id] = file
	}
	return models, nil
}

// checkModels refuses files for what the manifest does not require: in production nobody would open them.
func checkModels(m *registry.Manifest, models map[string]string) error {
	for _, id := range slices.Sorted(maps.Keys(models)) {
		if !slices.ContainsFunc(m.Requires, func(r registry.Requirement) bool { return r.Plugin == id }) {
			return usage.Errorf("model %s: plugin.yaml of %s does not name it under requires", id, m.ID)
		}
	}
	return nil
}

// modelRead is a model that a plugin may open, as the server says it of a running one.
type modelRead = pluginhost.ModelExplanation

// readModels notes what the release requires, and hashes it as a start would.
func (e *explanation) readModels(cmd *cobra.Command, c *client.Multi, d *registry.Descriptor) error {
	for _, need := range d.Manifest.Requires {
		in, err := c.Required(cmd.Context(), need, nil)
		if err != nil {
			return err
		}
		if in == nil {
			continue
		}
		a, err := c.OpenRelease(cmd.Context(), in.ID, in.Version, registry.RuntimeFile)
		if err != nil {
			return err
		}
		a.Close()
		e.Reads = append(e.Reads, modelRead{ID: in.ID, Requires: need.Version, Version: in.Version, Digest: a.Digest,
			Descriptor: in.Locked.Descriptor, Role: in.Role, KeyIDs: in.KeyIDs})
	}
	return nil
}

// installedModels copies what an installed release requires to where a program that is run by hand can be given it.
func installedModels(ctx context.Context, c *client.Multi, d *registry.Descriptor, dir string) (map[string]string, error) {
	models := map[string]string{}
	for _, need := range d.Manifest.Requires {
		in, err := c.Required(ctx, need, nil)
		if err != nil {
			return nil, err
		}
		if in == nil {
			continue
		}
		path := filepath.Join(dir, "model-"+strconv.Itoa(len(models)))
		if err := copyModel(ctx, c, in, path); err != nil {
			return nil, err
		}
		models[need.Plugin] = path
	}
	return models, nil
}

func copyModel(ctx context.Context, c *client.Multi, in *client.Installed, path string) error {
	a, err := c.OpenRelease(ctx, in.ID, in.Version, registry.RuntimeFile)
	if err != nil {
		return err
	}
	defer a.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, a.File)
	return errors.Join(err, out.Close())
}

func modelText(m modelRead) string {
	text := fmt.Sprintf("%s  %s %s (requires %s), signed by %s", m.Digest, m.ID, m.Version, m.Requires, m.Role)
	if len(m.KeyIDs) > 0 {
		text += ", key " + shorten(m.KeyIDs)
	}
	return text
}
