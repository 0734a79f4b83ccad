package passive

import (
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestCases(t *testing.T) {
	sdktest.Cases(t, plugintest.Registered(t, "picket/passive"), "testdata")
}
