package tunnel

import (
	"math"

	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

const (
	// minDifferent is how many different names and answers a tunnel has at least: less than that is one document.
	minDifferent = 16
	// randomness is from when on characters come as evenly as those of a hash; what people write is uneven in any encoding.
	randomness = 0.96
	// longName is how many made-up characters nobody remembers.
	longName = 40
	// stormName is how many made-up characters a name has that only has to differ.
	stormName = 24
	// What made-up characters count for less by: names of words, hashes, answers that are no addresses; and how much more a
	// resolver must exchange, which asks for everybody.
	wordsDivisor    = 16
	hashesDivisor   = 8
	loopsDivisor    = 8
	resolverClients = 4
)

// verdict is what a channel comes to, in characters and bytes.
type verdict struct {
	up, down, types uint64
	least           uint64
	even            float64
}

func (v *verdict) information() uint64 { return v.up + v.down + v.types }

// weigh measures one channel.
func (d *Detector) weigh(c *channel) verdict {
	v := verdict{up: c.up / sketch.Unit, down: c.down / sketch.Unit, types: (c.rare*worthRare + c.carried*worthCarried) / sketch.Unit, least: uint64(d.cfg.Information)}
	encoded, even := c.encoded()
	v.even = even
	switch {
	case c.stormy():
		v.up = 0
	case !encoded:
		v.up /= wordsDivisor
	default:
		if even >= randomness {
			v.up = (c.up - c.hashes + c.hashes/hashesDivisor) / sketch.Unit
		}
		if c.answers > 0 && 5*c.loops >= 4*c.answers {
			v.up /= loopsDivisor
		}
	}
	if 2*c.direct > c.questions {
		v.least *= resolverClients
	}
	return v
}

// stormy reports whether the names fail and are short: they only have to differ, as in a flood of random names.
func (c *channel) stormy() bool {
	return c.answers > 0 && 10*c.failures >= 9*c.answers && c.made < stormName*c.names
}

// encoded reports whether the made-up labels are data rather than words, and how evenly their characters come.
func (c *channel) encoded() (bool, float64) {
	return c.made >= longName*c.names || c.text.Encoded(), c.text.Evenness()
}

// judge reports a channel that carries too much: the first time at once, then each time it has doubled, and at the end with all
// the evidence. Later findings have the id of the first, unless most of it has come to go out: that is another technique.
func (d *Detector) judge(c *channel, final bool, sink sdk.FindingSink) error {
	v := d.weigh(c)
	information := v.information()
	if information < v.least || c.names+c.carried < minDifferent*sketch.Unit {
		return nil
	}
	enough := 2 * c.reported
	if final {
		enough = c.reported + 1
	}
	if information < enough {
		return nil
	}
	c.oneWay = c.oneWay || 4*v.down < v.up
	c.reported = information
	return sink.Finding(c.finding(&v))
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
