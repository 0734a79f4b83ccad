package custom

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every rule of the README loads with its samples, alone and all together.
func TestCookbook(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all, kinds := "version: 1\nrules:\n", map[string]bool{}
	for i, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		d, err := newDetector(t, m[1], true)
		if err != nil {
			t.Errorf("example %d: %v\n%s", i+1, err, m[1])
			continue
		}
		d.sets(func(s anySet) {
			s.accounts(func(r *source, _ *account) { kinds[r.on] = true })
		})
		all += strings.TrimPrefix(m[1], "version: 1\nrules:\n")
	}
	d := detector(t, all)
	rules := 0
	d.sets(func(s anySet) { s.accounts(func(*source, *account) { rules++ }) })
	if rules < 12 || len(kinds) != len(factKinds)+1 {
		t.Errorf("%d rules of %d kinds: there should be one of each", rules, len(kinds))
	}
	fmt.Fprintln(t.Output(), rules, "rules")
}
