package fileage

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/sdk/sdktest"
)

// The conformance suite takes the plugin through its life, twice over, with good and bad configurations.
func TestConformance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backup.tar")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(Config{Paths: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	sdktest.Run(t, Plugin(), sdktest.Options{Config: config})
}
