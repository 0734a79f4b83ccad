package incident

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Bounds of the lists.
const (
	maxListBytes   = 64 << 20 // of one file
	maxListEntries = 2_000_000
	maxPatterns    = 1000 // substrings and expressions of one list: each is tried on every host
)

// Lists are lists of well-known hosts that are usually harmless, in the format of the MISP warning lists.
type Lists struct {
	lists   []list
	refused []List
}

// List says what a list is, and of one that is not used why.
type List struct {
	Name, Description, Type string
	Entries                 int
	Refused                 string
}

type list struct {
	List
	exact    map[string]bool // addresses and names
	domains  map[string]bool // names that stand for all below them as well
	networks map[netip.Prefix]bool
	lengths  [2][]int // of the networks, IPv4 and IPv6
	parts    []string
	patterns []*regexp.Regexp
}

// LoadLists reads all *.json of a folder. A list that cannot be used is left out whole, and the error says which and
// why; the others are used all the same. A folder that is not there holds none.
func LoadLists(dir string) (*Lists, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return &Lists{}, err
	}
	slices.Sort(names)
	l := &Lists{}
	var refused []error
	for _, name := range names {
		one, err := loadList(name)
		if err != nil {
			refused = append(refused, fmt.Errorf("warning list %s: %w", filepath.Base(name), err))
			l.refused = append(l.refused, List{Name: filepath.Base(name), Refused: err.Error()})
			continue
		}
		l.lists = append(l.lists, one)
	}
	return l, errors.Join(refused...)
}

func loadList(name string) (list, error) {
	f, err := os.Open(name)
	if err != nil {
		return list{}, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxListBytes+1))
	if err != nil {
		return list{}, err
	}
	if len(raw) > maxListBytes {
		return list{}, fmt.Errorf("it is larger than %d MiB", maxListBytes>>20)
	}
	return parseList(raw)
}

func parseList(raw []byte) (list, error) {
	var file struct {
		Name        string   `json:"name"`
		Description string   `json:"description"`
		Type        string   `json:"type"`
		List        []string `json:"list"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return list{}, fmt.Errorf("it is no warning list: %w", err)
	}
	l := list{List: List{Name: file.Name, Description: file.Description, Type: file.Type, Entries: len(file.List)}, exact: map[string]bool{}, domains: map[string]bool{}, networks: map[netip.Prefix]bool{}}
	limit := maxListEntries
	add := map[string]func(string) error{
		"cidr": l.addNetwork, "string": l.addExact, "hostname": l.addDomain, "substring": l.addPart, "regex": l.addPattern}[file.Type]
	switch {
	case file.Name == "":
		return list{}, errors.New("it has no name")
	case add == nil:
		return list{}, fmt.Errorf("its type %q is not one of cidr, string, hostname, substring and regex", file.Type)
	case file.Type == "substring" || file.Type == "regex":
		limit = maxPatterns
	}
	if len(file.List) > limit {
		return list{}, fmt.Errorf("it has %d entries, at most %d are taken of type %s", len(file.List), limit, file.Type)
	}
	for i, entry := range file.List {
		if err := add(strings.TrimSpace(entry)); err != nil {
			return list{}, fmt.Errorf("entry %d, %q: %w", i+1, entry, err)
		}
	}
	for p := range l.networks {
		v := version(p.Addr())
		if !slices.Contains(l.lengths[v], p.Bits()) {
			l.lengths[v] = append(l.lengths[v], p.Bits())
		}
	}
	return l, nil
}

func (l *list) addNetwork(s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, plain := netip.ParseAddr(s)
		if plain != nil {
			return errors.New("it is no network")
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	l.networks[p.Masked()] = true
	return nil
}

func (l *list) addExact(s string) error {
	l.exact[strings.ToLower(s)] = true
	return nil
}

func (l *list) addDomain(s string) error {
	l.domains[strings.ToLower(strings.Trim(s, "."))] = true
	return nil
}

func (l *list) addPart(s string) error {
	if s == "" {
		return errors.New("it is in everything")
	}
	l.parts = append(l.parts, strings.ToLower(s))
	return nil
}

// addPattern takes an expression bare or between slashes with flags, as the lists have both.
func (l *list) addPattern(s string) error {
	if body, closed := strings.CutPrefix(s, "/"); closed {
		end := strings.LastIndexByte(body, '/')
		if end < 0 || strings.Trim(body[end+1:], "gi") != "" {
			return errors.New("it is no expression between slashes")
		}
		s = body[:end]
	}
	p, err := regexp.Compile("(?i)" + s)
	if err != nil {
		return err
	}
	l.patterns = append(l.patterns, p)
	return nil
}

// All are the lists that are used, by the names of their files, then those that were refused.
func (l *Lists) All() []List {
	var all []List
	for _, one := range l.lists {
		all = append(all, one.List)
	}
	return append(all, l.refused...)
}

// Harmless names the first list that a host is on, "" for none.
func (l *Lists) Harmless(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for i := range l.lists {
		if l.lists[i].has(host) {
			return l.lists[i].Name
		}
	}
	return ""
}

func (l *list) has(host string) bool {
	if l.exact[host] || slices.ContainsFunc(l.parts, func(p string) bool { return strings.Contains(host, p) }) ||
		slices.ContainsFunc(l.patterns, func(p *regexp.Regexp) bool { return p.MatchString(host) }) {
		return true
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return slices.ContainsFunc(l.lengths[version(a)], func(bits int) bool {
			p, err := a.WithZone("").Prefix(bits)
			return err == nil && l.networks[p]
		})
	}
	for name := host; name != ""; {
		if l.domains[name] {
			return true
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return false
}

func version(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
