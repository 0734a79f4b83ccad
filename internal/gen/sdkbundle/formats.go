package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

const module = "github.com/picketwatch/picket/sdk"

// The time that stands in each archive. A zip knows none before 1980.
var noTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// zipped makes a zip in which only the names and contents count.
func zipped(f files, prefix string) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range f.names() {
		entry, err := w.CreateHeader(&zip.FileHeader{Name: prefix + name, Method: zip.Deflate, Modified: noTime})
		if err == nil {
			_, err = entry.Write(f[name])
		}
		if err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// goModule adds the files that a module proxy serves, and the lines that go.sum has for them.
func goModule(bundle map[string][]byte, f files, version string) error {
	if f["go.mod"] == nil {
		return errors.New("there is no go.mod")
	}
	prefix := module + "@" + version + "/"
	archive, err := zipped(f, prefix)
	if err != nil {
		return err
	}
	at := "go/" + module + "/@v/"
	bundle[at+"list"] = lines(version)
	bundle[at+version+".info"] = fmt.Appendf(nil, `{"Version":%q,"Time":"1980-01-01T00:00:00Z"}`, version)
	bundle[at+version+".mod"] = f["go.mod"]
	bundle[at+version+".zip"] = archive
	bundle["go.version"] = lines(version)
	own := lines(
		module+" "+version+" "+hash1(f, prefix),
		module+" "+version+"/go.mod "+hash1(files{"go.mod": f["go.mod"]}, ""),
	)
	bundle["go.sum"] = append(own, f["go.sum"]...)
	return nil
}

// hash1 is the hash "h1:" of go.sum: of a list of hashes and names.
func hash1(f files, prefix string) string {
	sum := sha256.New()
	for _, name := range f.names() {
		fmt.Fprintf(sum, "%x  %s\n", sha256.Sum256(f[name]), prefix+name)
	}
	return "h1:" + base64.StdEncoding.EncodeToString(sum.Sum(nil))
}

var (
	dependencies   = regexp.MustCompile(`(?s)\ndependencies\s*=\s*\[(.*?)\n?\]\s*\n`)
	quoted         = regexp.MustCompile(`"([^"]+)"|'([^']+)'`)
	requiresPython = regexp.MustCompile(`\nrequires-python\s*=\s*"([^"]+)"`)
)

// wheel adds the Python package as pip installs it: the package and what pip wants to know about it.
func wheel(bundle map[string][]byte, f files, version string) error {
	project := "\n" + string(f["pyproject.toml"])
	needs := requiresPython.FindStringSubmatch(project)
	if needs == nil {
		return errors.New("sdk/python/pyproject.toml does not say requires-python")
	}
	meta := []string{"Metadata-Version: 2.1", "Name: picket-sdk", "Version: " + version, "Summary: Write plugins for Picket in Python.",
		"License: Apache-2.0", "Requires-Python: " + needs[1]}
	if list := dependencies.FindStringSubmatch(project); list != nil {
		for _, m := range quoted.FindAllStringSubmatch(list[1], -1) {
			meta = append(meta, "Requires-Dist: "+m[1]+m[2])
		}
	}
	info := "picket_sdk-" + version + ".dist-info/"
	in := files{
		info + "METADATA": lines(meta...),
		info + "WHEEL":    lines("Wheel-Version: 1.0", "Generator: picket", "Root-Is-Purelib: true", "Tag: py3-none-any"),
		info + "LICENSE":  f["LICENSE"],
	}
	for name, data := range f {
		if name = strings.TrimPrefix(name, "src/"); strings.HasPrefix(name, "picket") && strings.Contains(name, "/") {
			in[name] = data
		}
	}
	var record []string
	for _, name := range in.names() {
		sum := sha256.Sum256(in[name])
		record = append(record, fmt.Sprintf("%s,sha256=%s,%d", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(in[name])))
	}
	in[info+"RECORD"] = lines(append(record, info+"RECORD,,")...)
	archive, err := zipped(in, "")
	bundle["python/picket_sdk-"+version+"-py3-none-any.whl"] = archive
	return err
}

// crate adds the Rust crate as a tar of its folder.
func crate(bundle map[string][]byte, f files) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range f.names() {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(f[name])), ModTime: noTime, Format: tar.FormatUSTAR})
		if err == nil {
			_, err = w.Write(f[name])
		}
		if err != nil {
			return err
		}
	}
	err := w.Close()
	bundle["rust/picket-sdk.tar"] = b.Bytes()
	return err
}
