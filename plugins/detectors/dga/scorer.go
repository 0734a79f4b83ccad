package dga

import (
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"math/bits"

	"github.com/picketwatch/picket/plugins/detectors/internal/onnx"
	"github.com/picketwatch/picket/sdk"
)

// ModelID is what plugin.yaml names under requires.
const ModelID = "picket/dga-names"

// What the model must say that it reads.
const (
	features        = "dga-label"
	featuresVersion = "1"
)

// maxModel bounds what is read of a model.
const maxModel = 8 << 20

// scorer scores names, and remembers the names of late: hosts ask for the same ones again and again.
type scorer struct {
	model  *onnx.Model
	pieces []int64
	seed   maphash.Seed
	late   [lateNames]late
	below  [lateDomains]late // by what was registered: names below one domain are made up by the thousand
}

// Powers of two.
const (
	lateNames   = 4096
	lateDomains = 512
)

type late struct {
	key    uint64
	judged bool
	scored
}

// scored is a name that was judged.
type scored struct {
	id       uint64 // of what was registered, the same in every process
	surprise int32  // in thousandths
	domain   string // of an odd name alone
}

func openScorer(host sdk.Host) (*scorer, error) {
	m, err := host.Model(ModelID)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	data, err := io.ReadAll(io.LimitReader(m, maxModel+1))
	if err != nil {
		return nil, sdk.Errorf(sdk.Temporary, "read %s %s: %w", m.ID, m.Version, err)
	}
	s, err := newScorer(data)
	if err != nil {
		return nil, sdk.Errorf(sdk.Unsupported, "%s %s: %w", m.ID, m.Version, err)
	}
	return s, nil
}

func newScorer(data []byte) (*scorer, error) {
	if len(data) > maxModel {
		return nil, fmt.Errorf("more than %d bytes", maxModel)
	}
	m, err := onnx.Parse(data)
	if err != nil {
		return nil, err
	}
	if f, v := m.Metadata["features"], m.Metadata["features_version"]; f != features || v != featuresVersion {
		return nil, fmt.Errorf("it reads %.80q of version %.20q, want %s of version %s", f, v, features, featuresVersion)
	}
	s := &scorer{model: m, seed: maphash.MakeSeed()}
	if _, err := m.Run([]int64{numRows - 1}); err != nil {
		return nil, fmt.Errorf("it has fewer rows than %s of version %s: %w", features, featuresVersion, err)
	}
	return s, nil
}

// score judges a name, unless nothing of it says how it was made. The text of an odd one may be kept.
func (s *scorer) score(name string) (*scored, bool, error) {
	key := maphash.String(s.seed, name)
	l := &s.late[key%lateNames]
	if l.key == key {
		return &l.scored, l.judged, nil
	}
	*l = late{key: key}
	label, suffix, ok := Label(name)
	if !ok {
		return nil, false, nil
	}
	key = maphash.String(s.seed, label) ^ bits.RotateLeft64(maphash.String(s.seed, suffix), 1)
	b := &s.below[key%lateDomains]
	if b.key != key {
		score, err := s.Score(label, suffix)
		if err != nil {
			return nil, false, err
		}
		*b = late{key: key, judged: true, scored: scored{id: idOf(label, suffix), surprise: surpriseOf(score)}}
		if b.surprise >= odd {
			b.domain = label + "." + suffix // a copy: the name is borrowed
		}
	}
	l.judged, l.scored = true, b.scored
	return &l.scored, true, nil
}

// Score is what the model says of a label below a suffix, from 0 to 1.
func (s *scorer) Score(label, suffix string) (float64, error) {
	s.pieces = Pieces(s.pieces[:0], label, suffix)
	out, err := s.model.Run(s.pieces)
	if err != nil || len(out) != 1 {
		return 0, fmt.Errorf("score a name: %d results: %w", len(out), err)
	}
	return float64(out[0]), nil
}

// What a score says, by the names that a large resolver is asked for most: 0.5 or more has one in eight of them, 0.9 one in a
// hundred. (Of well-known names it is one in ten and one in 250.)
const (
	surpriseAtHalf = 0.9
	surpriseAt90   = 2
)

// thousandths is the unit of surprises: whole numbers, in which no platform differs.
const thousandths = 1000

// mostSurprise bounds what one name can add: scores that are rarer than that of one ordinary name in a thousand were never measured.
const mostSurprise = 3000

// surpriseOf is the negative logarithm of the share of ordinary names that score as high, in thousandths.
func surpriseOf(score float64) int32 {
	score = math.Round(score*1e6) / 1e6
	if score <= 0.5 {
		return 0
	}
	logit := math.Log(score / max(1-score, 1e-6))
	per := (surpriseAt90 - surpriseAtHalf) / math.Log(9)
	return int32(min(math.Round(thousandths*(surpriseAtHalf+per*logit)), mostSurprise))
}

func idOf(label, suffix string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, text := range []string{label, ".", suffix} {
		for i := range len(text) {
			h = (h ^ uint64(text[i])) * 1099511628211
		}
	}
	return h
}
