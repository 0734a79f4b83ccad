package facts

import (
	"slices"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Every name in the list is found, however it is written, and its value is left out.
func TestSecretFields(t *testing.T) {
	for name := range secretFields {
		if !secretField(name) {
			t.Errorf("%s is longer than any that is looked for", name)
		}
	}
	fields := []app.Field{{Name: "PRIVATE-Token", Value: "s3cret"}, {Name: "X-Auth-Key", Value: "s3cret"}, {Name: "X-Author", Value: "ada"},
		{Name: "Host", Value: "ada:pw@a.example"}, {Name: ":authority", Value: "ada:pw@a.example"}}
	const host = "[redacted:6]@a.example"
	if got := appendFields(nil, fields); !slices.Equal(got, []string{"PRIVATE-Token: ", "X-Auth-Key: ", "X-Author: ada", "Host: " + host, ":authority: " + host}) {
		t.Errorf("%q", got)
	}
}
