package repocheck

import (
	"regexp"
	"strings"
)

// textRule says what no committed text file may contain.
type textRule struct {
	Reason  string
	Pattern *regexp.Regexp
	Except  []string // path patterns as in importRule
	Fixture string
}

var textRules = []textRule{
	{
		Reason:  "a path of somebody's machine means nothing on another",
		Pattern: regexp.MustCompile(`(^|[\s"'=(` + "`" + `])/(work|root|home/[a-z]+)/[a-z]`),
		Except:  []string{"internal/repocheck/..."},
		Fixture: `open "/home/alice/src/x"`,
	},
	{
		Reason:  "where packages come from is each builder's own setting",
		Pattern: regexp.MustCompile(`proxy\.golang\.org|registry\.npmjs\.org|registry\.yarnpkg\.com|pypi\.org/simple|index\.crates\.io`),
		Except:  []string{"internal/repocheck/..."},
		Fixture: `"resolved": "https://registry.npmjs.org/react"`,
	},
	{
		Reason:  "a private key in the repository is no secret",
		Pattern: regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`),
		// The signing test holds the key that RFC 9421 publishes.
		Except:  []string{"internal/repocheck/...", "core/kernel/signing/signing_test.go"},
		Fixture: "-----BEGIN PRIVATE KEY-----",
	},
}

// broken returns the 1-based lines of text that break the rule.
func (r textRule) broken(path, text string) []int {
	if matchAny(r.Except, path) {
		return nil
	}
	var out []int
	for i, line := range strings.Split(text, "\n") {
		if r.Pattern.MatchString(line) {
			out = append(out, i+1)
		}
	}
	return out
}

// readmeSections are the parts of every plugin's README, in their order.
var readmeSections = []string{"## What it does", "## Config", "## Output", "## Limits", "## Example"}

// missingSections returns the sections that a plugin's README lacks or has out of order.
func missingSections(readme string) []string {
	var out []string
	rest := readme
	for _, s := range readmeSections {
		_, after, ok := strings.Cut(rest, s)
		if !ok {
			out = append(out, s)
			continue
		}
		rest = after
	}
	return out
}
