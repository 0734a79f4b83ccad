package traffic

import (
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// Every field of a flow is documented in the one table, and the table documents nothing else.
func TestEveryFieldIsDocumented(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z]\w+) \| [a-z_, ]+ \| .+ \|`).FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = true
	}
	flow := reflect.TypeFor[sdk.Flow]()
	for i := range flow.NumField() {
		name := flow.Field(i).Name
		if !documented[name] {
			t.Errorf("README.md does not document sdk.Flow.%s", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("README.md documents %s, which sdk.Flow does not have", name)
	}
}
