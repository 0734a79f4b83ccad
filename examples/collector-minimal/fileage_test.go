package fileage

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk/config"
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

// The table in the README is made from the tags of Config, and stays so.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if table := config.Table(&Config{}); !strings.Contains(string(readme), table) {
		t.Errorf("README.md lacks the table\n%s", table)
	}
}
