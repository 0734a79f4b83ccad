package strict

import (
	"encoding/json"
	"strings"
	"testing"
)

var tight = Rules{MaxBytes: 4096, MaxDepth: 8, NoNull: true, Integers: true, ASCII: true}

func TestCheckJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}],"d":"x\"y","e":true,"f":false,"g":-5}`: "",
		`[]`: "", `"text"`: "", `7`: "",
		`{"a":1,"a":2}`:                          "twice",
		`{"a":1,"A":2}`:                          "twice",
		`{"s":1,"\u017f":2}`:                     "ASCII",
		`{"a":1,"\u0061":2}`:                     "twice",
		`{"x":{"y":[{"k":1,"K":1}]}}`:            "twice",
		`{"a":null}`:                             "null",
		`null`:                                   "null",
		`{"a":1.5}`:                              "whole",
		`{"a":1e3}`:                              "whole",
		`{"a":9007199254740993}`:                 "whole",
		`{"a":-9007199254740993}`:                "whole",
		`{"a":` + strings.Repeat("9", 100) + `}`: "digits",
		`{} {}`:                                  "not valid",
		`{"a":1`:                                 "not valid",
		`{"a":1}}`:                               "not valid",
		"{\"a\":\"\xff\"}":                       "UTF-8",
		strings.Repeat("[", 9):                   "deep",
		strings.Repeat("[", 5000):                "bytes",
		`{"` + strings.Repeat(`\\`, 10) + `":1}`: "",
		`{"a":"` + strings.Repeat(`[{`, 20) + `"}`:  "",
		`{"a":"\\","b":"[[[[[[[[[[[["}`:             "",
		`{"a":"` + strings.Repeat("x", 5000) + `"}`: "bytes",
	} {
		err := CheckJSON([]byte(text), tight)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60s: %v, want something about %q", text, err, want)
		}
	}
	if err := CheckJSON([]byte(`{"default":null,"x":1.5,"é":1}`), Rules{MaxBytes: 100, MaxDepth: 4}); err != nil {
		t.Errorf("a descriptor may hold this: %v", err)
	}
}

// What passes is JSON without a member twice, and nothing makes the scanner fall over.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":"c"}],"d":null}`, `{"a":1,"a":2}`, `"\"`, `[[[[`, `{"\u0061":1e5}`, `{"a":"\\"}`, ``, `-`, `{"a":tru}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := CheckJSON(data, tight)
		if err == nil && !json.Valid(data) {
			t.Errorf("passed, but is no JSON: %q", data)
		}
		var tree map[string]json.RawMessage
		if err == nil && json.Unmarshal(data, &tree) == nil {
			for name := range tree {
				if strings.Count(strings.ToLower(string(data)), `"`+strings.ToLower(name)+`"`) == 0 && !strings.Contains(string(data), `\`) {
					t.Errorf("member %q came from nowhere", name)
				}
			}
		}
	})
}
