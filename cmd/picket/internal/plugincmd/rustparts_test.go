package plugincmd

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/registry/gates"
)

func TestCratesOf(t *testing.T) {
	const text = `{"packages":[
	 {"id":"p","name":"plugin","version":"1.0.0","source":null},
	 {"id":"z","name":"serde","version":"1.0.2","source":"registry+https://github.com/rust-lang/crates.io-index"},
	 {"id":"b","name":"cc","version":"1.2.0","source":"registry+https://github.com/rust-lang/crates.io-index"},
	 {"id":"bb","name":"shlex","version":"1.3.0","source":"registry+https://example.org/index"},
	 {"id":"g","name":"mine","version":"0.1.0","source":"git+https://example.org/mine#abc"},
	 {"id":"t","name":"proptest","version":"1.5.0","source":"registry+https://github.com/rust-lang/crates.io-index"},
	 {"id":"o","name":"other","version":"1.0.0","source":null}],
	 "resolve":{"root":"p","nodes":[
	 {"id":"p","deps":[{"pkg":"z","dep_kinds":[{"kind":null}]},{"pkg":"b","dep_kinds":[{"kind":"build"}]},{"pkg":"t","dep_kinds":[{"kind":"dev"}]}]},
	 {"id":"b","deps":[{"pkg":"bb","dep_kinds":[{"kind":null}]},{"pkg":"z","dep_kinds":[{"kind":null}]}]},
	 {"id":"z","deps":[{"pkg":"g","dep_kinds":[{"kind":"dev"},{"kind":null}]}]},
	 {"id":"t","deps":[{"pkg":"o","dep_kinds":[{"kind":null}]}]}]}}`
	got, err := cratesOf([]byte(text))
	want := []gates.Crate{
		{Name: "cc", Version: "1.2.0", Source: "crates.io", Kind: "build"},
		{Name: "mine", Version: "0.1.0", Source: "git"},
		{Name: "plugin", Version: "1.0.0", Source: "local", Root: true},
		{Name: "serde", Version: "1.0.2", Source: "crates.io"},
		{Name: "shlex", Version: "1.3.0", Source: "registry", Kind: "build"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, broken := range []string{"", "{}", `{"resolve":null}`} {
		if list, err := cratesOf([]byte(broken)); err == nil {
			t.Errorf("%q: %v", broken, slices.Clone(list))
		}
	}
}

// The list is whole in what is put into a guest, and the same each time.
func TestPackCrates(t *testing.T) {
	list := []gates.Crate{{Name: "plugin", Version: "1.0.0", Source: "local", Root: true}, {Name: "serde", Version: "1.0.2", Source: "crates.io"}}
	packed, err := packCrates(list)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Packages []gates.Crate }
	text, err := io.ReadAll(r)
	if err != nil || json.Unmarshal(text, &got) != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if diff := cmp.Diff(list, got.Packages); diff != "" {
		t.Error(diff)
	}
	if again, err := packCrates(list); err != nil || !bytes.Equal(again, packed) {
		t.Errorf("another time it is another: %v", err)
	}
}
