package service

import (
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/service") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/service"), sdktest.Options{})
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{
		`{"watched": [""]}`, `{"watched": ["a b"]}`, `{"watched": ["../a"]}`, `{"watched": ["a", "a.service"]}`, `{"units": []}`,
	} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}
