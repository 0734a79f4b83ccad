package pluginhost

import (
	"encoding/json"
	"testing"
	"time"
)

// What forgets crashes and a quarantine is another try. Neither how often schedulers ask nor words for an operator are one.
func TestSettingsMAC(t *testing.T) {
	h := &Host{guestKey: []byte("key")}
	a := Assignment{Instance: "a", Plugin: "picket/a", Version: "1.0.0", Runtime: RuntimeProcess}
	was := h.settingsMAC(a)
	for name, c := range map[string]struct {
		change func(*Assignment)
		other  bool
	}{
		"interval": {func(a *Assignment) { a.Interval = time.Minute }, false},
		"origin":   {func(a *Assignment) { a.From = "{name: corp}" }, false},
		"config":   {func(a *Assignment) { a.Config = json.RawMessage(`{"x":1}`) }, true},
		"override": {func(a *Assignment) { a.Override = "ada: we know" }, true},
	} {
		b := a
		c.change(&b)
		if got := h.settingsMAC(b) != was; got != c.other {
			t.Errorf("%s: another try: %t", name, got)
		}
	}
}
