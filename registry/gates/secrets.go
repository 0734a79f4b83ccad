package gates

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
)

// secretRule knows one shape of secret. The literal is looked for first, which is quick over megabytes; the expression
// is then tried around it.
type secretRule struct {
	name    string
	literal string
	before  int // bytes before the literal that belong to it
	shape   *regexp.Regexp
	sure    bool // by its shape alone; otherwise it is worth a look
}

func rule(name, literal string, before int, sure bool, shape string) secretRule {
	return secretRule{name, literal, before, regexp.MustCompile(shape), sure}
}

var secretRules = []secretRule{
	rule("a private key", "PRIVATE KEY-----", 40, true, `-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?:\s|\\n|\\r){1,4}[A-Za-z0-9+/=\s\\]{60}`),
	rule("an AWS access key", "AKIA", 0, true, `^AKIA[0-9A-Z]{16}\b`),
	rule("an AWS access key", "ASIA", 0, true, `^ASIA[0-9A-Z]{16}\b`),
	rule("a GitHub token", "ghp_", 0, true, `^ghp_[A-Za-z0-9]{36}\b`),
	rule("a GitHub token", "gho_", 0, true, `^gho_[A-Za-z0-9]{36}\b`),
	rule("a GitHub token", "ghs_", 0, true, `^ghs_[A-Za-z0-9]{36}\b`),
	rule("a GitHub token", "github_pat_", 0, true, `^github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b`),
	rule("a GitLab token", "glpat-", 0, true, `^glpat-[A-Za-z0-9_-]{20,64}\b`),
	rule("a Slack token", "xox", 0, true, `^xox[abprs]-[0-9]{8,14}-[0-9A-Za-z-]{20,90}`),
	rule("a Slack webhook", "hooks.slack.com/services/", 0, true, `^hooks\.slack\.com/services/T[A-Z0-9]{8,12}/B[A-Z0-9]{8,12}/[A-Za-z0-9]{20,32}`),
	rule("a Discord webhook", "/api/webhooks/", 0, true, `^/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,80}`),
	rule("a Telegram bot's token", ":AA", 10, true, `[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b`),
	rule("a Google API key", "AIza", 0, true, `^AIza[0-9A-Za-z_-]{35}`),
	rule("a Stripe key", "sk_live_", 0, true, `^sk_live_[0-9a-zA-Z]{24,99}`),
	rule("a SendGrid key", "SG.", 0, true, `^SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}`),
	rule("an npm token", "npm_", 0, true, `^npm_[A-Za-z0-9]{36}\b`),
	rule("a PyPI token", "pypi-AgEIcHlwaS5vcmc", 0, true, `^pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,200}`),
	rule("a JSON web token", "eyJ", 0, false, `^eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}`),
}

// assignment knows a secret by its name, in texts that people write.
var assignment = regexp.MustCompile(`(?i)\b[a-z_]{0,30}(?:password|passwd|secret|token|api_?key|access_?key)["']?\s{0,3}[:=]\s{0,3}["']([A-Za-z0-9+/=_.-]{20,100})["']`)

// The bounds of the search.
const (
	maxSearched = 128 << 20 // of one artifact
	maxHits     = 20
	window      = 4 << 10
)

// secrets looks for keys and tokens that were packed by mistake: in the artifacts, and in all that is text.
func (c *check) secrets(_ context.Context, f *finding) {
	m := &c.Descriptor.Manifest
	manifest, err := json.Marshal(m)
	if err != nil {
		f.failf("%v", err)
	}
	texts := map[string][]byte{
		"the README": c.Readme, "the changelog": c.Changelog, "the page": []byte(c.Descriptor.Page), "the manifest": manifest,
		"the configuration's schema": c.Descriptor.ConfigSchema, "the rules": c.Descriptor.Rules,
	}
	for _, name := range slices.Sorted(mapKeys(texts)) {
		searchText(f, name, texts[name])
	}
	for _, a := range c.Descriptor.Artifacts {
		data, err := c.read(a)
		if err != nil {
			f.failf("%v", err)
			continue
		}
		if len(data) > maxSearched {
			f.lackf("%s: only its first %s were searched", label(a), mebibytes(maxSearched))
			data = data[:maxSearched]
		}
		search(f, label(a), data)
		if bytes.HasPrefix(data, []byte("PK\x03\x04")) || m.Interpreter != "" {
			searchZip(f, label(a), data)
		}
	}
	f.sumf("no key and no token of %d known shapes", len(secretRules))
}

func mapKeys(m map[string][]byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func searchText(f *finding, where string, text []byte) {
	search(f, where, text)
	for _, m := range assignment.FindAllSubmatch(text, maxHits) {
		if entropy(m[1]) >= 3.8 {
			f.warnf("%s: what looks like a secret is assigned: %s", where, redact(m[0]))
		}
	}
}

func search(f *finding, where string, data []byte) {
	for _, r := range secretRules {
		rest, hits := data, 0
		for offset := 0; hits < maxHits; {
			i := bytes.Index(rest[offset:], []byte(r.literal))
			if i < 0 {
				break
			}
			i += offset
			offset = i + len(r.literal)
			found := r.shape.Find(rest[max(0, i-r.before):min(len(rest), i+window)])
			if found == nil || placeholder(found) {
				continue
			}
			hits++
			if r.sure {
				f.failf("%s holds %s: %s", where, r.name, redact(found))
			} else {
				f.warnf("%s holds %s: %s", where, r.name, redact(found))
			}
		}
	}
}

// placeholder knows what stands in documentation for a secret: words that say so, and letters that repeat.
func placeholder(found []byte) bool {
	upper := bytes.ToUpper(found)
	for _, word := range []string{"EXAMPLE", "XXXX", "PLACEHOLDER", "YOUR", "0000000000"} {
		if bytes.Contains(upper, []byte(word)) {
			return true
		}
	}
	return entropy(found) < 3
}

// entropy is Shannon's, in bits per byte.
func entropy(b []byte) float64 {
	var count [256]int
	for _, c := range b {
		count[c]++
	}
	h := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(b))
			h -= p * math.Log2(p)
		}
	}
	return h
}

// redact shows enough to find a secret and too little to use it.
func redact(found []byte) string {
	shown := min(len(found)/3, 12)
	return fmt.Sprintf("%s… (%d characters)", printable(string(found[:shown])), len(found))
}

// searchZip searches what an archive unpacks to. checkZip has judged the archive itself.
func searchZip(f *finding, where string, data []byte) {
	err := guard(func() {
		in, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		budget := int64(maxSearched)
		for _, entry := range in.File[:min(len(in.File), maxZipFiles)] {
			r, err := entry.Open()
			if err != nil {
				continue
			}
			text, err := io.ReadAll(io.LimitReader(r, budget+1))
			r.Close()
			if budget -= int64(len(text)); budget < 0 {
				f.lackf("%s: more than %s, which were not all searched", where, mebibytes(maxSearched))
				return
			}
			if err == nil {
				searchText(f, where+", "+printable(strings.TrimSpace(entry.Name)), text)
			}
		}
	})
	if err != nil {
		f.lackf("%s: not searched: %v", where, err)
	}
}
