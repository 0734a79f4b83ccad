package idsrules

import (
	"bytes"
	"cmp"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

//go:embed default.rules
var defaultRules []byte

const (
	maxFile  = 64 << 20
	maxRules = 200_000
)

// loaded is what became of the rule files.
type loaded struct {
	rules     []*rule
	refused   []refusal
	shared    []*addresses // sets of addresses, by their bit
	doubled   int          // sids that a file has twice, or a later revision replaced
	statement int          // rules that were read, doubled and refused ones included
}

// loader reads rule files into rules.
type loader struct {
	compiler compiler
	out      loaded
	bySid    map[[2]uint32]int // place in out.rules
}

func newLoader(own map[string]string) *loader {
	v := maps.Clone(defaultVariables)
	maps.Copy(v, own)
	return &loader{compiler: compiler{variables: v, bits: map[string]int{}, sets: map[string]*addresses{}, uses: map[*addresses]int{}}, bySid: map[[2]uint32]int{}}
}

// add reads one file. Of two rules with the same sid the later revision counts.
func (l *loader) add(name string, text []byte) error {
	statements, refused := statements(name, text)
	l.out.statement += len(statements) + len(refused)
	l.out.refused = append(l.out.refused, refused...)
	for _, s := range statements {
		r, refused := l.compiler.compile(s)
		if refused != nil {
			l.out.refused = append(l.out.refused, *refused)
			continue
		}
		key := [2]uint32{r.gid, r.sid}
		if place, has := l.bySid[key]; has {
			l.out.doubled++
			if r.rev > l.out.rules[place].rev {
				r.index = place
				l.out.rules[place] = r
			}
			continue
		}
		if len(l.out.rules) == maxRules {
			return fmt.Errorf("more than %d rules", maxRules)
		}
		r.index = len(l.out.rules)
		l.bySid[key] = r.index
		l.out.rules = append(l.out.rules, r)
	}
	l.out.shared = l.compiler.shared
	return nil
}

// open reads a rule file, also one in gzip.
func open(host sdk.Host, name string) ([]byte, error) {
	f, err := host.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := readAll(f)
	if err != nil || !bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
		return text, err
	}
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return readAll(z)
}

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return text, err
}

// load reads the rules that come with the plugin, and those of the operator.
func load(host sdk.Host, cfg *Config) (loaded, error) {
	l := newLoader(cfg.Variables)
	if cfg.Defaults {
		if err := l.add("default.rules", defaultRules); err != nil {
			return loaded{}, err
		}
	}
	for _, name := range cfg.Rules {
		if host == nil {
			return loaded{}, errors.New("there is nobody to open files")
		}
		text, err := open(host, name)
		if err != nil {
			return loaded{}, sdk.Errorf(sdk.InvalidConfig, "rules: %w", err)
		}
		if err := l.add(name, text); err != nil {
			return loaded{}, sdk.Errorf(sdk.InvalidConfig, "%s: %w", name, err)
		}
	}
	return l.out, nil
}

// byKeyword counts the refused rules by the keyword that nothing here understands, the most frequent first.
func byKeyword(refused []refusal) string {
	count := map[string]int{}
	for _, r := range refused {
		count[r.Keyword]++
	}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		return cmp.Or(count[b]-count[a], strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, count[name])
	}
	return strings.Join(names, ", ")
}
