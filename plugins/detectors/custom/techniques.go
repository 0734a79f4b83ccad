package custom

import (
	_ "embed"
	"strings"
	"sync"
)

// techniques.txt is made by TestTechniquesAreFresh; its first lines say whose ids these are.
//
//go:embed techniques.txt
var techniqueList string

var techniques = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(techniqueList) {
		if !strings.HasPrefix(line, "#") {
			for _, id := range strings.Fields(line) {
				out[id] = true
			}
		}
	}
	return out
})

func knownTechnique(id string) bool { return techniques()[id] }
