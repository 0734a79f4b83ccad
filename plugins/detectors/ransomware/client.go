package ransomware

import (
	"math"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/sdk"
)

// Limits of what is remembered of a client.
const (
	maxSet   = 64
	maxGains = 8
	maxNotes = 16
	quiet    = int64(3600e9) // after which what was told is over
)

const (
	manyKinds     = 4 // kinds of files that no program changes together
	fewFolders    = 3 // in which a note lies
	overwriteness = 2 // times as many files must be overwritten as converted
)

type clientKey struct{ client, server bare.Addr }

// client is what a client does to the files of a server.
type client struct {
	key           clientKey
	begin, latest int64
	written       uint64 // files
	converted     uint64
	overwritten   uint64
	canaries      uint64
	canary        string // the first one
	lost, kinds   set    // extensions of files that were converted, and overwritten
	folders       set
	gains         []gained
	notes         []note
	told          told
	evidence.Evidence
}

type told struct {
	rule   uint8 // 1 + its place in rules
	files  uint64
	severe int
}

// gained is an extension that files got.
type gained struct {
	extension string
	files     uint64
}

// note is a name that was written in folders.
type note struct {
	hash    uint64
	text    string
	folders set
}

// set holds different values, some of them.
type set []uint32

func (s *set) add(v uint32) {
	if len(*s) < maxSet && !slices.Contains(*s, v) {
		*s = append(*s, v)
	}
}

// over reports whether the window is over, or what was told.
func (k *client) over(at, window int64) bool {
	if k.told.rule > 0 {
		return at-k.latest > quiet
	}
	return at-k.begin > window
}

// gain counts a file that got an extension. Where there are many of these, the first ones are remembered.
func (k *client) gain(extension string) {
	for i := range k.gains {
		if strings.EqualFold(k.gains[i].extension, extension) {
			k.gains[i].files++
			return
		}
	}
	if len(k.gains) < maxGains {
		k.gains = append(k.gains, gained{strings.Clone(strings.ToLower(strings.ToValidUTF8(extension, ""))), 1})
	}
}

// most is the extension that most files got.
func (k *client) most() (best gained) {
	for _, g := range k.gains {
		if g.files > best.files {
			best = g
		}
	}
	return best
}

// leave counts a file that may be a note.
func (k *client) leave(n *name, text string) {
	h := hash64(text)
	for i := range k.notes {
		if k.notes[i].hash == h {
			k.notes[i].folders.add(uint32(n.folder))
			return
		}
	}
	one := note{hash: h, text: text}
	one.folders.add(uint32(n.folder))
	if len(k.notes) < maxNotes {
		k.notes = append(k.notes, one)
	} else if saysSo(text) {
		k.notes[maxNotes-1] = one
	}
}

func hash64(text string) uint64 {
	h := offset64
	for i := range len(text) {
		h = (h ^ uint64(small(text[i]))) * prime64
	}
	return h
}

// ransom is the note that was left, nil for none: its name says so, or it lies in some folders.
func (k *client) ransom() (best *note) {
	for i := range k.notes {
		n := &k.notes[i]
		if !saysSo(n.text) && len(n.folders) < fewFolders {
			continue
		}
		if best == nil || saysSo(n.text) && !saysSo(best.text) || saysSo(n.text) == saysSo(best.text) && len(n.folders) > len(best.folders) {
			best = n
		}
	}
	return best
}

// verdict is how what a client does is judged.
type verdict struct {
	rule       uint8
	files      uint64
	confidence float64
	known      bool // the extension
}

var rules = [...]string{RuleConverted, RuleOverwritten, RuleCanary}

// weigh judges a client. Files count for as many as were also written, and more the less they can be anything else.
func (d *Detector) weigh(k *client) (v verdict) {
	if k.canaries > 0 {
		v = verdict{rule: 3, files: k.canaries, confidence: 0.9}
	}
	factor := 1.0
	if k.ransom() != nil {
		factor++
	}
	converted := verdict{rule: 1, files: k.converted, known: d.known[hashOf(k.most().extension)]}
	sum := float64(min(k.converted, k.written)) * factor
	if converted.known {
		sum += float64(min(k.converted, k.written))
	}
	if len(k.lost) >= manyKinds {
		sum += float64(min(k.converted, k.written)) / 2
	}
	if 2*k.written < k.converted {
		sum = 0 // renamed, but not written
	}
	converted.confidence = confidenceOf(sum / float64(d.cfg.Files))
	if converted.confidence > v.confidence {
		v = converted
	}
	if len(k.kinds) >= manyKinds {
		over := verdict{rule: 2, files: k.overwritten, confidence: confidenceOf(float64(k.overwritten) * factor / float64(d.cfg.Files) / overwriteness)}
		if over.confidence > v.confidence {
			v = over
		}
	}
	return v
}

// confidenceOf is nothing below the threshold, half at it, three quarters at twice the threshold.
func confidenceOf(excess float64) float64 {
	if excess < 1 {
		return 0
	}
	return min(0.97, math.Round(100*(1-math.Exp2(-excess)))/100)
}

// judge reports a client when it stands out, when that is more severe or has doubled, and at the end. It keeps the rule by which it
// was told first.
func (d *Detector) judge(k *client, final bool, sink sdk.FindingSink) error {
	v := d.weigh(k)
	if v.rule == 0 {
		return nil
	}
	if k.told.rule > 0 {
		v.rule = k.told.rule
		v.files = [...]uint64{k.converted, k.overwritten, k.canaries}[v.rule-1]
	}
	f := k.finding(&v)
	severe := f.Severity.Rank()
	all := k.converted + k.overwritten + k.canaries
	if k.told.rule > 0 && severe <= k.told.severe && (all == k.told.files || !final && all < 2*k.told.files) {
		return nil
	}
	k.told = told{v.rule, all, max(severe, k.told.severe)}
	return sink.Finding(f)
}
