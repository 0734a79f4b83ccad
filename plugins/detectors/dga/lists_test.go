package dga

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

const (
	sharedData = "../../../../shared/data"
	families   = "../../../examples/datasets/dga-families.tsv"
)

// bar is the score from which a name alone counts as generated in the figures.
const bar = 0.9

// lists are the names of the shared lists as the training splits them.
type lists struct {
	families  map[string][]listed // by family
	makes     map[string]string   // characters, syllables or words, by family
	side      map[string]string   // trained, left-out or words, by family
	known     []listed            // ordinary ones that neither the training nor the scale has seen
	resolvers []listed            // the most asked ones of a resolver, likewise
}

type listed struct{ label, suffix string }

func (n listed) name() string { return n.label + "." + n.suffix }

func unpack(t *testing.T, path string) *gzip.Reader {
	t.Helper()
	f, err := os.Open(filepath.Join(sharedData, path))
	if err != nil {
		t.Skip("no shared lists at ../shared/data")
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func readLists(t *testing.T) *lists {
	t.Helper()
	out := &lists{families: map[string][]listed{}, makes: map[string]string{}, side: map[string]string{}}
	table, err := os.ReadFile(families)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		col := strings.Fields(line)
		out.makes[col[0]], out.side[col[0]] = col[1], col[2]
	}
	named := map[string]bool{}
	for _, list := range []string{"tranco10k", "majestic_million", "cisco_top20k"} {
		var one struct{ List []string }
		if err := json.NewDecoder(unpack(t, "threatintel/warninglists/"+list+".json.gz")).Decode(&one); err != nil {
			t.Fatal(err)
		}
		for _, name := range one.List {
			named[name] = true
		}
	}
	seen, known, ordinary := map[string]bool{}, map[string]bool{}, []listed(nil)
	for lines := bufio.NewScanner(unpack(t, "dga/domains.tsv.gz")); lines.Scan(); {
		col := strings.Split(lines.Text(), "\t")
		label, suffix, ok := Label(col[0])
		if !ok || col[1] == "label" {
			continue
		}
		if col[1] == "benign" && (col[3] != "cloudflare-top100k" || named[col[0]]) {
			known[label] = true
		}
		if key := col[2] + " " + label; !seen[key] {
			seen[key] = true
			if n := (listed{label, suffix}); col[1] == "benign" {
				ordinary = append(ordinary, n)
			} else {
				out.families[col[2]] = append(out.families[col[2]], n)
			}
		}
	}
	for _, n := range ordinary {
		sum := sha256.Sum256([]byte(n.label))
		at := binary.BigEndian.Uint64(sum[:8]) % 100
		switch {
		case known[n.label] && at >= 65:
			out.known = append(out.known, n)
		case !known[n.label] && at >= 80:
			out.resolvers = append(out.resolvers, n)
		}
	}
	return out
}

func above(t *testing.T, s *scorer, names []listed) int {
	t.Helper()
	n := 0
	for _, one := range names {
		score, err := s.Score(one.label, one.suffix)
		if err != nil {
			t.Fatal(err)
		}
		if score >= bar {
			n++
		}
	}
	return n
}

// TestLists measures the packaged model over the lists, families that it never saw apart. The budget is asked of names whose
// characters are drawn; what README.md says of the others is what this prints.
func TestLists(t *testing.T) {
	l, s := readLists(t), testScorer(t)
	type sum struct{ names, found int }
	sums := map[string]sum{}
	for _, f := range slices.Sorted(maps.Keys(l.side)) {
		if f == "family" {
			continue
		}
		names := l.families[f]
		found := above(t, s, names)
		t.Logf("%-10s %-10s %-24s %5d names, recall %.3f", l.side[f], l.makes[f], f, len(names), float64(found)/float64(len(names)))
		for _, of := range []string{l.side[f], l.side[f] + " " + l.makes[f]} {
			sums[of] = sum{sums[of].names + len(names), sums[of].found + found}
		}
	}
	wrong := float64(above(t, s, l.known)) / float64(len(l.known))
	t.Logf("ordinary names %d, false positives %.2f %%; of a resolver's most asked %d, %.2f %%", len(l.known), 100*wrong,
		len(l.resolvers), 100*float64(above(t, s, l.resolvers))/float64(len(l.resolvers)))
	for _, of := range slices.Sorted(maps.Keys(sums)) {
		recall := float64(sums[of].found) / float64(sums[of].names)
		t.Logf("%-22s %5d names, recall %.3f, precision %.3f over as many ordinary names", of, sums[of].names, recall, recall/(recall+wrong))
	}
	chars := sums["left-out characters"]
	recall := float64(chars.found) / float64(chars.names)
	if precision := recall / (recall + wrong); recall < 0.9 || precision < 0.98 || wrong > 0.005 {
		t.Errorf("left-out families of drawn characters: recall %.3f, precision %.3f, false positives %.4f", recall, precision, wrong)
	}
}

// TestHostsOfLists measures the detector: hosts of left-out families ask for 30 of their names among 200 ordinary ones, others for
// 300 ordinary ones alone.
func TestHostsOfLists(t *testing.T) {
	l := readLists(t)
	host := func(ordinary []listed, odd []listed, gone bool) []sdk.Finding {
		var asked []sdk.DNS
		for i, n := range ordinary {
			asked = append(asked, ask(infected, float64(i), "www."+n.name(), false))
		}
		for i, n := range odd {
			asked = append(asked, ask(infected, 200+float64(i), n.name(), gone))
		}
		return find(t, detector(t, "{}"), asked...)
	}
	hosts := map[string][2]int{}
	for _, f := range slices.Sorted(maps.Keys(l.families)) {
		if l.side[f] == "trained" {
			continue
		}
		for i, odd := range slices.Collect(slices.Chunk(l.families[f], 30)) {
			if i == 20 {
				break
			}
			for gone, how := range map[bool]string{true: "gone", false: "there"} {
				at := i * 200 % (len(l.known) - 200)
				rules := map[string]bool{}
				for _, found := range host(l.known[at:at+200], odd, gone) {
					rules[found.Rule] = true
				}
				for by, found := range map[string]bool{RuleGenerated: rules[RuleGenerated], "either": len(rules) > 0} {
					one := fmt.Sprintf("%s: %s, names %s", by, l.makes[f], how)
					n := hosts[one]
					n[0]++
					if found {
						n[1]++
					}
					hosts[one] = n
				}
			}
		}
	}
	quiet := 0
	for ordinary := range slices.Chunk(l.known, 300) {
		quiet += len(host(ordinary, nil, false))
	}
	for _, of := range slices.Sorted(maps.Keys(hosts)) {
		t.Logf("%s: %d of %d hosts found", of, hosts[of][1], hosts[of][0])
	}
	t.Logf("%d of %d ordinary hosts", quiet, len(l.known)/300+1)
	spoken, drawn := hosts["generated: syllables, names gone"], hosts["generated: characters, names gone"]
	if quiet > 0 || 100*(spoken[1]+drawn[1]) < 90*(spoken[0]+drawn[0]) {
		t.Errorf("%d findings of ordinary hosts; %v", quiet, hosts)
	}
	if n := hosts["either: words, names gone"]; 10*n[1] < 9*n[0] {
		t.Errorf("of hosts that ask for names of words, which do not exist, %v are told", n)
	}
}
