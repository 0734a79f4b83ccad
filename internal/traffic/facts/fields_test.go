package facts

import (
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Every name in the list is found, however it is written, and its value is left out.
func TestSecretFields(t *testing.T) {
	for name := range secretFields {
		if !secretField(strings.ToUpper(name)) {
			t.Errorf("%s is not found", name)
		}
	}
	for _, word := range secretWords {
		for _, name := range []string{word, "X-" + word[:2] + "-" + word[2:], strings.Repeat("x-", 400) + word, word + strings.Repeat("-x", 400)} {
			if !secretField(name) {
				t.Errorf("%s is not found", name)
			}
		}
	}
	for _, name := range []string{"", "Host", "X-Pass-Through", "Set-Cooki", strings.Repeat("x-", 400) + "author", "tok", "secre", "Sess-I"} {
		if secretField(name) {
			t.Errorf("%s is no secret", name)
		}
	}
	fields := []app.Field{{Name: "PRIVATE-Token", Value: "s3cret"}, {Name: "X-Auth-Key", Value: "s3cret"}, {Name: "X-Author", Value: "ada"},
		{Name: "Host", Value: "ada:pw@a.example"}, {Name: ":authority", Value: "ada:pw@a.example"}}
	const host = "[redacted:6]@a.example"
	if got := appendFields(nil, fields); !slices.Equal(got, []string{"PRIVATE-Token: ", "X-Auth-Key: ", "X-Author: ada", "Host: " + host, ":authority: " + host}) {
		t.Errorf("%q", got)
	}
}
