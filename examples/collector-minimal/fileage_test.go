package fileage

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
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

// host opens files without asking for grants.
type host struct{ sdk.Host }

func (host) Now() time.Time                    { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
func (host) Open(name string) (fs.File, error) { return os.Open(name) }

type samples []sdk.Sample

func (s *samples) Sample(one sdk.Sample) error {
	*s = append(*s, one)
	return nil
}

func TestAge(t *testing.T) {
	there := filepath.Join(t.TempDir(), "backup.tar")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(there, time.Time{}, host{}.Now().Add(-90*time.Second)); err != nil {
		t.Fatal(err)
	}
	c := Collector{config: Config{Paths: []string{filepath.Join(t.TempDir(), "missing"), there}}, host: host{}}
	var got samples
	err := c.Collect(t.Context(), sdk.CollectRequest{}, &got)
	if len(got) != 1 || got[0].Value != 90 || got[0].Labels["file.path"] != there {
		t.Errorf("%+v", got)
	}
	if sdk.ClassOf(err) != sdk.Temporary || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v", err)
	}
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
