package token

import (
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	want := Enrolment{Server: "https://picket.example:8443", Secret: "s3cret", RootSHA256: strings.Repeat("ab", 32)}
	got, err := Parse("  " + want.String() + "\n")
	if err != nil || got != want {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	good := Enrolment{Server: "http://a", Secret: "hushhush"}.String()
	for name, text := range map[string]string{
		"empty":          "",
		"other prefix":   "picket_abc",
		"cut short":      good[:len(good)-7],
		"no server":      Enrolment{Secret: "hushhush"}.String(),
		"not a web url":  Enrolment{Server: "file:///etc", Secret: "hushhush"}.String(),
		"no secret":      Enrolment{Server: "http://a"}.String(),
		"root not a sum": Enrolment{Server: "http://a", Secret: "hushhush", RootSHA256: "abcd"}.String(),
		"too long":       prefix + strings.Repeat("A", maxSize+1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(text)
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "hushhush") {
				t.Errorf("error tells the secret: %v", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Enrolment{Server: "http://a", Secret: "s"}.String())
	f.Fuzz(func(t *testing.T, text string) {
		if e, err := Parse(text); err == nil {
			if again, err := Parse(e.String()); err != nil || again != e {
				t.Fatalf("%+v became %+v, %v", e, again, err)
			}
		}
	})
}
