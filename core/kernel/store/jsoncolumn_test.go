package store

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestListsOfTextsComeBack(t *testing.T) {
	for _, list := range [][]string{nil, {}, {""}, {"10.0.0.1"}, {"a", "b", ""}, {"", ""}, {`"`}, {`","`}, {`a\`, "b"}, {"<&>", "ä", "\n"}, {"]", "[\"a\"]"}} {
		var got []string
		if err := fromJSON(&got).Scan(toJSON(list)); err != nil || !reflect.DeepEqual(got, list) {
			t.Errorf("%q became %q, %v", list, got, err)
		}
	}
	var got []string
	for _, bad := range []string{``, `[`, `[""`, `["a""b"]`, `["a"b"]`, `["a","]`, `["a",b"]`, `{"a":"b"}`, `[1]`} {
		if err := fromJSON(&got).Scan(bad); err == nil {
			t.Errorf("%s is taken for %q", bad, got)
		}
	}
}

// A list that is read the short way is what it is.
func FuzzPlainList(f *testing.F) {
	f.Add(`["a","b"]`)
	f.Add(`["a" ,"b"]`)
	f.Add("[\"\xff\"]")
	f.Fuzz(func(t *testing.T, text string) {
		list, plain := plainList(text)
		if !plain {
			return
		}
		var want []string
		if json.Unmarshal([]byte(text), &want) == nil && !reflect.DeepEqual(list, want) {
			t.Errorf("%q, want %q", list, want)
		}
	})
}
