package launch

import "testing"

func TestDeeds(t *testing.T) {
	seen := map[string]string{}
	for _, d := range Deeds {
		for _, list := range [][]string{d.Calls, d.Sometimes} {
			for _, call := range list {
				if seen[call] != "" {
					t.Errorf("%s stands for %q and %q", call, seen[call], d.Words)
				}
				seen[call] = d.Words
				if DeedOf(call) != d.Words {
					t.Errorf("%s stands for %q", call, DeedOf(call))
				}
			}
		}
	}
	if DeedOf("read") != "" {
		t.Error("to read is no deed")
	}
	// A plugin that did everything must leave room for each of them among the incidents of its kind; sockets have several.
	if n := len(Deeds); n > 20 {
		t.Errorf("%d are too many", n)
	}
}
