package dga

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// tries are names of two words that do not exist, as families of words make them, so many seconds apart.
func tries(n int, apart float64) (out []sdk.DNS) {
	words := strings.Fields("through little around never always family children country better still another without against public several during")
	for i := range n {
		name := words[i%len(words)] + words[(i/len(words)+3*i+5)%len(words)] + ".net"
		out = append(out, ask(infected, float64(i)*apart, name, false), ask(infected, float64(i)*apart+0.1, name, true))
	}
	return out
}

// unlike are names that fail and have little in common.
func unlike(n int) []sdk.DNS {
	out := tries(n, 2)
	for i := range out {
		out[i].Query = strings.Repeat("far", i/2%7) + out[i].Query
	}
	return out
}

// below asks for what lies below the names.
func below(asked []sdk.DNS) []sdk.DNS {
	for i := range asked {
		asked[i].Query = "wpad." + asked[i].Query
	}
	return asked
}

// found answers for the names below which there is something.
func found(asked []sdk.DNS) []sdk.DNS {
	for i := range asked {
		asked[i].Query, asked[i].RCode, asked[i].AnswerCount = "www."+asked[i].Query, noError, 1
	}
	return asked
}

// gone lets one name in so many not exist.
func gone(asked []sdk.DNS, oneIn int) (out []sdk.DNS) {
	for i, f := range asked {
		out = append(out, f)
		if i%oneIn == oneIn-1 {
			f.Response, f.RCode, f.FromServer = true, nameError, true
			out = append(out, f)
		}
	}
	return out
}

// blocked is a page with trackers that a resolver says do not exist, among what exists.
func blocked(pages int) (out []sdk.DNS) {
	r := rand.New(rand.NewPCG(4, 4))
	for page := range pages {
		for i := range 24 {
			at := float64(page*40) + float64(i)/10
			name := fmt.Sprintf("%s%s.com", []string{"ad", "track", "pixel", "metric", "cdn"}[r.IntN(5)], []string{"roll", "point", "serve", "zone", "hub", "works"}[r.IntN(6)])
			if i%4 > 0 {
				name = browsing(resident, 400)[r.IntN(400)].Query
			}
			out = append(out, ask(resident, at, name, i%4 == 0))
		}
	}
	return out
}

func TestNamesThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		want  string
		asked []sdk.DNS
	}{
		"words":                                       {"low failing", tries(16, 2)},
		"many words":                                  {"medium failing", tries(40, 2)},
		"words among those of a person":               {"low failing", append(tries(20, 1), browsing(infected, 40)...)},
		"words of all lengths":                        {"low failing", unlike(20)},
		"names below those that exist":                {"", below(tries(40, 2))},
		"names that exist after all":                  {"", append(tries(12, 0.5), found(tries(12, 0.5))...)},
		"names that exist, but not for all questions": {"", append(found(tries(12, 0.5)), tries(12, 0.5)...)},
		"too few":                                     {"", tries(fewFailing-1, 1)},
		"now and then":                                {"", tries(30, 700)},
		"made up, which is told":                      {"high generated", generated(30, true)},
		"a person who mistypes":                       {"", gone(browsing(resident, 300), 12)},
		"a resolver that blocks":                      {"", blocked(12)},
	} {
		var have []string
		for _, f := range find(t, detector(t, "{}"), c.asked...) {
			have = append(have, string(f.Severity)+" "+f.Rule)
			t.Log(f.Summary, f.Confidence)
		}
		if got := strings.Join(have, ", "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// What goes on is one finding, also beyond the window.
func TestFailingGoesOn(t *testing.T) {
	var asked []sdk.DNS
	for i, side := range []string{"north", "south", "west"} {
		for _, f := range tries(200, 15) {
			f.Query, f.Time = side+f.Query, f.Time.Add(time.Duration(i)*50*time.Minute)
			asked = append(asked, f)
		}
	}
	if got := find(t, detector(t, "{}"), asked...); len(got) != 1 {
		t.Errorf("%d findings: %+v", len(got), got)
	}
}
