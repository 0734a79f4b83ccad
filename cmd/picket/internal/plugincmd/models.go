package plugincmd

import (
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
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
