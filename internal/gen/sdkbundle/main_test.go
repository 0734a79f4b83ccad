package main

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// repository writes a small one with all three SDKs.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"LICENSE":                        "free",
		"sdk/go.mod":                     "module " + module + "\n",
		"sdk/go.sum":                     "example.com/x v1.0.0 h1:abc\n",
		"sdk/sdk.go":                     "package sdk\n",
		"sdk/sdk_test.go":                "package sdk\n",
		"sdk/records/testdata/big.bin":   "big",
		"sdk/python/pyproject.toml":      "[project]\nname = \"picket-sdk\"\nrequires-python = \">=3.11\"\ndependencies = [\n  \"grpcio>=1.60\",\n  'numpy[x]>=2',\n]\n",
		"sdk/python/picket/__init__.py":  "x = 1\n",
		"sdk/python/picket/py.typed":     "",
		"sdk/python/tests/test_x.py":     "assert False\n",
		"sdk/rust/Cargo.toml":            "[package]\n",
		"sdk/rust/src/lib.rs":            "\n",
		"sdk/rust/target/debug/junk.rs":  "junk",
		"sdk/python/picket/__pycache__/": "",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPackIsTheSameAnywhere(t *testing.T) {
	first, err := pack(repository(t), "1.2.3", false)
	if err != nil {
		t.Fatal(err)
	}
	root := repository(t)
	second, err := pack(root, "1.2.3", false)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, second) {
		t.Error("the same sources gave two bundles")
	}
	if err := os.WriteFile(filepath.Join(root, "sdk", "sdk.go"), []byte("package sdk // changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := pack(root, "1.2.3", false)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first["VERSION"], third["VERSION"]) {
		t.Errorf("two contents are both called %s", first["VERSION"])
	}
}

func TestPack(t *testing.T) {
	b, err := pack(repository(t), "1.2.3", true)
	if err != nil {
		t.Fatal(err)
	}
	at := "go/" + module + "/@v/"
	for name, want := range map[string][]string{
		at + "v1.2.3.zip":                          {module + "@v1.2.3/LICENSE", module + "@v1.2.3/go.mod", module + "@v1.2.3/go.sum", module + "@v1.2.3/sdk.go"},
		"python/picket_sdk-1.2.3-py3-none-any.whl": {"picket/__init__.py", "picket/py.typed", "picket_sdk-1.2.3.dist-info/LICENSE", "picket_sdk-1.2.3.dist-info/METADATA", "picket_sdk-1.2.3.dist-info/RECORD", "picket_sdk-1.2.3.dist-info/WHEEL"},
	} {
		z, err := zip.NewReader(bytes.NewReader(b[name]), int64(len(b[name])))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, f := range z.File {
			got = append(got, f.Name)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	if sum := string(b["go.sum"]); !strings.HasPrefix(sum, module+" v1.2.3 h1:") || !strings.Contains(sum, "\nexample.com/x ") {
		t.Errorf("go.sum is %q", sum)
	}
	if got := b["rust/picket-sdk.tar"]; !bytes.Contains(got, []byte("src/lib.rs")) || bytes.Contains(got, []byte("junk")) {
		t.Error("the crate is not as expected")
	}
}

func TestPackSaysWhatIsMissing(t *testing.T) {
	if _, err := pack(t.TempDir(), "1.2.3", true); err == nil {
		t.Error("packed nothing without a word")
	}
	if err := run(repository(t), t.TempDir(), "", true); err == nil {
		t.Error("accepted no version")
	}
}
