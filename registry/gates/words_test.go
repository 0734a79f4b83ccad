package gates

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/module"

	"github.com/picketwatch/picket/registry"
)

func escaped(t *testing.T, p part) string {
	t.Helper()
	path, err := module.EscapePath(p.Name)
	if err != nil {
		return p.Name
	}
	version, err := module.EscapeVersion(p.Version)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.FromSlash(path) + "@" + version
}

func TestSPDX(t *testing.T) {
	for _, good := range []string{"Apache-2.0", "MIT OR GPL-2.0-or-later", "(MIT AND BSD-3-Clause) OR Apache-2.0", "GPL-2.0-only WITH Classpath-exception-2.0",
		"GPL-2.0+", "LicenseRef-Acme-1.0", "mit", "((MIT))"} {
		if err := checkSPDX(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "Apache", "Apache 2.0", "MIT OR", "MIT AND AND MIT", "(MIT", "MIT)", "MIT WITH nothing", "Proprietary", "LicenseRef-", "LicenseRef-a b",
		strings.Repeat("(", 100) + "MIT", "MIT/Apache-2.0", strings.Repeat("MIT OR ", 100) + "MIT"} {
		if err := checkSPDX(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func FuzzSPDX(f *testing.F) {
	f.Add("MIT OR (Apache-2.0 WITH LLVM-exception)")
	f.Fuzz(func(_ *testing.T, s string) { _ = checkSPDX(s) })
}

func TestLicence(t *testing.T) {
	cfg := Config{}
	r := run(t, release(t, func(d *registry.Descriptor) { d.Manifest.License = "Mine" }, program(t)), cfg)
	wants(t, r, registry.GateLicence, registry.GateFailed, "SPDX")
	if r.Refused() == nil {
		t.Error("it is published with a licence that is none")
	}
	wants(t, run(t, release(t, nil, program(t)), cfg), registry.GateLicence, registry.GateNotChecked, "not known of")
	wants(t, run(t, release(t, asData, []byte("x")), cfg), registry.GateLicence, registry.GatePassed, "Apache-2.0")
	wants(t, run(t, release(t, func(d *registry.Descriptor) { asData(d); d.Manifest.Data.License = "free" }, []byte("x")), cfg), registry.GateLicence, registry.GateFailed, "content")
	for text, want := range map[string]string{
		"Permission is hereby granted, free of\n charge, to any person obtaining a copy": "MIT",
		"GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007":                "AGPL-3.0-only",
		"All rights reserved.": "",
	} {
		if got := licenceOfText(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// The values here are made up, in the shapes of real ones.
func TestSecrets(t *testing.T) {
	mixed := "q7Zp2Lw9Xk4Vt8Rb3Nf6Hc1Jd5Mg0SyAeUoIx"
	for name, c := range map[string]struct {
		text, state, want string
	}{
		"nothing":              {"Set `webhook` to the URL that Slack shows.", registry.GatePassed, "no key"},
		"a private key":        {"-----BEGIN EC PRIV" + "ATE KEY-----\n" + strings.Repeat(mixed, 3) + "\n", registry.GateFailed, "private key"},
		"the name of one":      {"a PEM block of type -----BEGIN PRIV" + "ATE KEY----- goes into the file", registry.GatePassed, ""},
		"an AWS key":           {"key: AKIA" + "Q7ZP2LW9XK4VT8RB", registry.GateFailed, "AWS"},
		"AWS's own example":    {"key: AKIAIOSFODNN7EXAMPLE", registry.GatePassed, ""},
		"a GitHub token":       {"ghp_" + mixed[:36], registry.GateFailed, "GitHub"},
		"a Slack webhook":      {"https://hooks.slack.com/services/T0A1B2C3D/B4E5F6G7H/" + mixed[:24], registry.GateFailed, "Slack"},
		"a Slack placeholder":  {"https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", registry.GatePassed, ""},
		"a Slack token":        {"xoxb-" + "123456789012-" + mixed[:24], registry.GateFailed, "Slack"},
		"a Telegram token":     {"bot 123456789:AA" + mixed[:33], registry.GateFailed, "Telegram"},
		"a web token":          {"eyJhbGciOiJIUzI1NiJ9Qx.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + mixed, registry.GateWarning, "web token"},
		"an assigned password": {`db_password = "` + mixed + `"`, registry.GateWarning, "assigned"},
		"a dull assignment":    {`password = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, registry.GatePassed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := release(t, asData, []byte("table"))
			r.Readme = []byte(c.text)
			result := run(t, r, Config{})
			wants(t, result, registry.GateSecrets, c.state, c.want)
			if refused := result.Refused() != nil; refused != (c.state == registry.GateFailed) {
				t.Errorf("refused: %v", refused)
			}
			for _, g := range result.Card.Gates {
				if strings.Contains(fmt.Sprint(g), mixed[:24]) {
					t.Error("the card shows the secret")
				}
			}
			inside := run(t, release(t, asPython, zipped(t, zipFile{name: "__main__.py", data: "pass"}, zipFile{name: "settings.py", data: c.text})), Config{})
			wants(t, inside, registry.GateSecrets, c.state, c.want)
		})
	}
	leaking := append(bytes.Clone(program(t)), "\x00ghp_"+mixed[:36]+"\x00"...)
	wants(t, run(t, release(t, nil, leaking), Config{}), registry.GateSecrets, registry.GateFailed, "GitHub")
	wants(t, run(t, release(t, nil, program(t)), Config{}), registry.GateSecrets, registry.GatePassed, "no key")
}

func FuzzSecrets(f *testing.F) {
	f.Add([]byte("ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))
	f.Add([]byte(`token: "x"`))
	f.Fuzz(func(_ *testing.T, data []byte) { searchText(&finding{}, "x", data) })
}

func TestSBOM(t *testing.T) {
	r := run(t, release(t, nil, program(t)), Config{})
	wants(t, r, registry.GateSBOM, registry.GatePassed, "components")
	var bom struct {
		BomFormat  string `json:"bomFormat"`
		Components []struct {
			PURL string `json:"purl"`
		} `json:"components"`
	}
	if err := json.Unmarshal(r.Evidence[0], &bom); err != nil || bom.BomFormat != "CycloneDX" {
		t.Fatalf("%v: %.200s", err, r.Evidence[0])
	}
	var all []string
	for _, c := range bom.Components {
		all = append(all, c.PURL)
	}
	for _, want := range []string{"pkg:golang/stdlib@1.", "pkg:golang/github.com/CycloneDX/cyclonedx-go@v"} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("it lacks %s: %q", want, all)
		}
	}
	wants(t, run(t, release(t, nil, []byte("x")), Config{}), registry.GateSBOM, registry.GateNotChecked, "does not say")
	wants(t, run(t, release(t, asGuest, guest()), Config{}), registry.GateSBOM, registry.GateNotChecked, "does not say")
	modules := "path\tacme\nmod\tacme\t(devel)\t\ndep\texample.org/x\tv1.2.3\th1:abc=\n"
	wasm := append(guest(), append(append(modulesStart, modules...), append(modulesEnd, " go1.26.8 "...)...)...)
	wants(t, run(t, release(t, asGuest, wasm), Config{}), registry.GateSBOM, registry.GatePassed, "3 components")
	python := zipped(t, zipFile{name: "__main__.py"}, zipFile{name: "requirements.txt", data: "numpy==2.1.0\nscipy[x] == 1.14 ; python_version>'3'\n# a word\npicket_sdk>=0.1\n"},
		zipFile{name: "six-1.17.0.dist-info/METADATA", data: "Metadata-Version: 2.4\nName: Six\nVersion: 1.17.0\nLicense-Expression: MIT\n\nVersion: 9\n"})
	got := run(t, release(t, asPython, python), Config{})
	wants(t, got, registry.GateSBOM, registry.GatePassed, "4 components")
	if !strings.Contains(string(got.Evidence[0]), "pkg:pypi/six@1.17.0") {
		t.Errorf("%s", got.Evidence[0])
	}
	loose := zipped(t, zipFile{name: "requirements.txt", data: "numpy==2.1.0\nscipy>=1\n-r more.txt\nsix @ https://example.org/six.whl\nodd==1.*\n"})
	wants(t, run(t, release(t, asPython, loose), Config{}), registry.GateSBOM, registry.GateNotChecked, "no exact version is named of scipy, -r more.txt, six, odd")
	wants(t, run(t, release(t, asPython, zipped(t, zipFile{name: "__main__.py"})), Config{}), registry.GateSBOM, registry.GateNotChecked, "lists no packages")
}

// database writes one entry of OSV, about the library that this test is linked with.
func database(t *testing.T, events string) *Vulnerabilities {
	t.Helper()
	dir := t.TempDir()
	if events == "" {
		events = `[{"introduced":"99.0.0"}]`
	}
	entry := `{"id":"GO-2026-0001","summary":"It leaks.","modified":"2026-11-20T00:00:00Z","affected":[
	 {"package":{"ecosystem":"Go","name":"github.com/CycloneDX/cyclonedx-go"},"ranges":[{"type":"SEMVER","events":` + events + `}]}]}`
	if err := os.WriteFile(filepath.Join(dir, "GO-2026-0001.json"), []byte(entry), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := OpenVulnerabilities(dir)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVulnerabilities(t *testing.T) {
	r := release(t, nil, program(t)) // it is linked with version 0.12
	now := func() time.Time { return cardTime }
	for events, c := range map[string][2]string{
		`[{"introduced":"0"},{"fixed":"0.99.0"}]`: {registry.GateFailed, "fixed in 0.99.0"},
		`[{"introduced":"0"}]`:                    {registry.GateWarning, "nobody has fixed"},
		`[{"introduced":"0"},{"fixed":"0.5.0"}]`:  {registry.GatePassed, "none known"},
		`[{"introduced":"0"},{"fixed":"0.5.0"},{"introduced":"0.11.0"},{"fixed":"0.13.0"}]`:               {registry.GateFailed, "fixed in 0.13.0"},
		`[{"introduced":"0"},{"last_affected":"0.11.0"}]`:                                                 {registry.GatePassed, "none known"},
		`[{"introduced":"0.13.0"}]`:                                                                       {registry.GatePassed, "none known"},
		`[{"introduced":"0"},{"fixed":"0.13.0"},{"introduced":"0.14.0"},{"fixed":"0.15.0"}]`:              {registry.GateFailed, "fixed in 0.13.0"},
		`[{"introduced":"not a version"},{"introduced":"0.1.0"},{"fixed":"nor this"},{"fixed":"0.90.0"}]`: {registry.GateFailed, "GO-2026-0001"},
	} {
		result := run(t, r, Config{Vulnerabilities: database(t, events), Now: now})
		wants(t, result, registry.GateVulnerabilities, c[0], c[1])
		if result.Refused() != nil {
			t.Error("a vulnerability is on the card, it does not keep a release out")
		}
	}
	late := Config{Vulnerabilities: database(t, ""), Now: func() time.Time { return cardTime.AddDate(0, 3, 0) }}
	wants(t, run(t, r, late), registry.GateVulnerabilities, registry.GateWarning, "ends on 2026-11-20")
	wants(t, run(t, release(t, nil, []byte("x")), Config{Vulnerabilities: database(t, ""), Now: now}), registry.GateVulnerabilities, registry.GateNotChecked, "not known")
}

func TestOpenVulnerabilities(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenVulnerabilities(dir); err == nil {
		t.Error("an empty folder is a database")
	}
	path := filepath.Join(dir, "all.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	for name, text := range map[string]string{
		"PYSEC-1.json": `{"id":"PYSEC-1","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"six"},"versions":["1.17.0"]}]}`,
		"GONE.json":    `{"id":"GONE","modified":"2026-01-01T00:00:00Z","withdrawn":"2026-01-02T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"six"},"versions":["1.17.0"]}]}`,
	} {
		out, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	f.Close()
	v, err := OpenVulnerabilities(path)
	if err != nil {
		t.Fatal(err)
	}
	if hits := v.of(part{Ecosystem: ecosystemPyPI, Name: "six", Version: "1.17.0"}); len(hits) != 1 || hits[0].ID != "PYSEC-1" {
		t.Errorf("%+v", hits)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenVulnerabilities(dir); err == nil || !strings.Contains(err.Error(), "x.json") {
		t.Errorf("a broken entry: %v", err)
	}
}

func TestSize(t *testing.T) {
	wants(t, run(t, release(t, nil, []byte("x")), Config{}), registry.GateSize, registry.GatePassed, "1 artifact")
	big := release(t, asGuest, []byte("x"))
	big.Descriptor.Artifacts[0].Size = 33 << 20
	wants(t, run(t, big, Config{}), registry.GateSize, registry.GateWarning, "unusual")
}

func FuzzVulnerabilities(f *testing.F) {
	f.Add([]byte(`{"id":"X","affected":[{"package":{"ecosystem":"Go","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.0"}]}],"versions":["1"]}]}`), "v0.9.0")
	f.Fuzz(func(_ *testing.T, data []byte, version string) {
		v := noVulnerabilities()
		if v.add(fstest.MapFS{"x.json": {Data: data}}, "x.json") != nil {
			return
		}
		v.of(part{Ecosystem: ecosystemGo, Name: "a", Version: version})
	})
}
