package gates

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// Vulnerabilities are those of a database that the operator downloaded: a folder or a zip archive of files in the format
// of OSV, such as https://vuln.go.dev/vulndb.zip or all.zip of an ecosystem at osv.dev.
type Vulnerabilities struct {
	byPackage map[string][]advisory // "Go/golang.org/x/net"
	known     map[string]bool       // ecosystems that it has entries of
	count     int
	newest    time.Time
}

// advisory is what is kept of an entry for one package.
type advisory struct {
	ID, Summary string
	ranges      []osvRange
	versions    []string
}

// osvEntry is what is read of a file.
type osvEntry struct {
	ID        string     `json:"id"`
	Summary   string     `json:"summary"`
	Modified  time.Time  `json:"modified"`
	Withdrawn *time.Time `json:"withdrawn"`
	Affected  []struct {
		Package struct {
			Ecosystem string `json:"ecosystem"`
			Name      string `json:"name"`
		} `json:"package"`
		Ranges   []osvRange `json:"ranges"`
		Versions []string   `json:"versions"`
	} `json:"affected"`
}

type osvRange struct {
	Type   string `json:"type"`
	Events []struct {
		Introduced   string `json:"introduced"`
		Fixed        string `json:"fixed"`
		LastAffected string `json:"last_affected"`
	} `json:"events"`
}

// The bounds of a database.
const (
	maxAdvisories  = 500_000
	maxAdvisory    = 4 << 20
	databaseTooOld = 30 * 24 * time.Hour
)

// OpenVulnerabilities reads a database.
func OpenVulnerabilities(path string) (*Vulnerabilities, error) {
	v, err := openVulnerabilities(path)
	if err != nil {
		return nil, fmt.Errorf("read the database of vulnerabilities %s: %w", path, err)
	}
	return v, nil
}

func noVulnerabilities() *Vulnerabilities {
	return &Vulnerabilities{byPackage: map[string][]advisory{}, known: map[string]bool{}}
}

func openVulnerabilities(path string) (*Vulnerabilities, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := os.DirFS(path)
	if !info.IsDir() {
		archive, err := zip.OpenReader(path)
		if err != nil {
			return nil, err
		}
		defer archive.Close()
		files = archive
	}
	v := noVulnerabilities()
	err = fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && e.Name() == "index" {
			return fs.SkipDir // of the files, in the layout of vuln.go.dev
		}
		if e.IsDir() || !strings.HasSuffix(name, ".json") {
			return nil
		}
		if v.count++; v.count > maxAdvisories {
			return fmt.Errorf("more than %d files", maxAdvisories)
		}
		return v.add(files, name)
	})
	if err == nil && v.count == 0 {
		err = fmt.Errorf("it holds no .json file of OSV")
	}
	return v, err
}

func (v *Vulnerabilities) add(files fs.FS, name string) error {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAdvisory+1))
	if err != nil {
		return err
	}
	var e osvEntry
	if len(data) > maxAdvisory || json.Unmarshal(data, &e) != nil {
		return fmt.Errorf("%s is not an entry of OSV", name)
	}
	if e.Modified.After(v.newest) {
		v.newest = e.Modified
	}
	if e.ID == "" || e.Withdrawn != nil {
		return nil
	}
	for _, a := range e.Affected {
		v.known[a.Package.Ecosystem] = true
		key := a.Package.Ecosystem + "/" + a.Package.Name
		v.byPackage[key] = append(v.byPackage[key], advisory{e.ID, e.Summary, a.Ranges, a.Versions})
	}
	return nil
}

// ecosystemsOSV are OSV's words for the ecosystems of package URLs.
var ecosystemsOSV = map[string]string{ecosystemGo: "Go", ecosystemPyPI: "PyPI", ecosystemCargo: "crates.io"}

// hit is a vulnerability that a part has.
type hit struct {
	advisory
	fixed string // the first version without it, "" when there is none
}

// of returns what is known of a part.
func (v *Vulnerabilities) of(p part) []hit {
	var hits []hit
	for _, a := range v.byPackage[ecosystemsOSV[p.Ecosystem]+"/"+p.Name] {
		if fixed, is := a.affects(p.Version); is {
			hits = append(hits, hit{a, fixed})
		}
	}
	return hits
}

// affects reports whether a version lies in one of the ranges or is listed. A version that cannot be compared counts
// only when it is listed.
func (a advisory) affects(version string) (fixed string, is bool) {
	v, err := semver.NewVersion(version)
	for _, r := range a.ranges {
		if err != nil || r.Type == "GIT" {
			continue
		}
		if fixed, in := r.holds(v); in {
			return fixed, true
		}
	}
	return "", slices.Contains(a.versions, version)
}

// holds goes through the events in the order of OSV: each introduction lasts until the fix after it.
func (r osvRange) holds(v *semver.Version) (fixed string, in bool) {
	for _, e := range r.Events {
		switch {
		case e.Introduced != "":
			from, err := semver.NewVersion(e.Introduced)
			if e.Introduced == "0" || err == nil && !v.LessThan(from) {
				in, fixed = true, ""
			}
		case e.Fixed != "" && in:
			to, err := semver.NewVersion(e.Fixed)
			if err == nil && !v.LessThan(to) {
				in = false
				continue
			}
			if fixed == "" {
				fixed = e.Fixed
			}
		case e.LastAffected != "" && in:
			if last, err := semver.NewVersion(e.LastAffected); err == nil && v.GreaterThan(last) {
				in = false
			}
		}
	}
	return fixed, in
}

// vulnerabilities looks up every part. One that a newer version of it has fixed is the author's to fix.
func (c *check) vulnerabilities(ctx context.Context, f *finding) {
	db := c.cfg.Vulnerabilities
	if db == nil {
		f.lackf("this registry has no database of vulnerabilities; whoever runs it names one with --vulnerabilities")
		return
	}
	b := c.parts(ctx)
	looked := 0
	for _, p := range b.parts {
		if p.own() {
			continue
		}
		looked++
		if name := ecosystemsOSV[p.Ecosystem]; !db.known[name] {
			f.lackf("the database of vulnerabilities has none of %s, where %s is from", name, p.Name)
		}
		for _, h := range db.of(p) {
			if h.fixed == "" {
				f.warnf("%s in %s %s, which nobody has fixed: %s", h.ID, p.Name, p.Version, h.Summary)
			} else {
				f.failf("%s in %s %s, fixed in %s: %s", h.ID, p.Name, p.Version, h.fixed, h.Summary)
			}
		}
	}
	day := db.newest.Format(time.DateOnly)
	if !b.whole() {
		f.lackf("not known what all of it was built from: %s", strings.Join(b.unknown, "; "))
	}
	if c.cfg.Now().Sub(db.newest) > databaseTooOld {
		f.warnf("the database of vulnerabilities ends on %s", day)
	}
	f.sumf("none known of %s on %s", plural(looked, "component"), day)
	f.notef("the database has %s", entries(db.count))
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
