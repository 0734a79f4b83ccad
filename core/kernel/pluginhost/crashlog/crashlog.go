// Package crashlog keeps what a plugin was given before it crashed, or before it found something in traffic that nobody
// recorded, so that it can be given the same again. A record is a folder: crash.json, the state that the process had been given, and the frames that followed. It holds the
// configuration without its secrets, and as much of the network's traffic as the plugin had seen since that state, so
// only the server's own user may read it.
package crashlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// How many records are kept, and how much one may hold.
const (
	PerInstance = 3
	Altogether  = 60
	// Of what was found.
	FoundPerInstance = 16
	FoundAltogether  = 128
	FoundAge         = 30 * 24 * time.Hour
	MaxBytes         = 16 << 20
	maxHead          = 1 << 20
	maxSteps         = 4096
)

// Record is one crash.
type Record struct {
	ID       string           `json:"id"`
	Time     time.Time        `json:"time"`
	Instance string           `json:"instance"`
	Plugin   string           `json:"plugin"`
	Version  string           `json:"version"`
	Runtime  string           `json:"runtime"`
	Kind     sdk.Kind         `json:"kind"`
	Digest   string           `json:"digest"` // of the bytes that crashed
	Reason   string           `json:"reason"`
	Config   json.RawMessage  `json:"config,omitempty"`
	Secrets  []string         `json:"secrets,omitempty"` // their names; the values are not kept
	Grants   []sdk.Permission `json:"grants,omitempty"`
	Steps    []Step           `json:"steps"`         // what it was given, the last call last
	Cut      bool             `json:"cut,omitempty"` // there were more calls than a record may hold, or what is in files
	State    []byte           `json:"-"`             // a snapshot that came before the steps, nil when there was none
	HasState bool             `json:"has_state,omitempty"`
	Found    []sdk.Finding    `json:"found,omitempty"` // what it found last in these calls; then it did not crash
}

// Step is one call.
type Step struct {
	Call    string              `json:"call"` // Collect, Discover, Inspect, Flush, Notify
	Capture string              `json:"capture,omitempty"`
	Frame   []byte              `json:"-"` // of Inspect, in a file of its own
	Collect *sdk.CollectRequest `json:"collect,omitempty"`
	Scope   *sdk.Scope          `json:"scope,omitempty"`
	Notice  *sdk.Notice         `json:"notice,omitempty"`
}

// Name makes the id of a record.
func Name(instance string, at time.Time) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, instance)
	return safe + "-" + strings.Replace(at.UTC().Format("20060102-150405.000"), ".", "-", 1)
}

// Save writes the record of a crash below dir and removes the oldest ones. What does not fit is left out from the front, and
// the record says so.
func Save(dir string, r Record) error { return save(dir, r, limits{PerInstance, Altogether, 0}) }

// SaveFound is Save for what was found.
func SaveFound(dir string, r Record) error {
	return save(dir, r, limits{FoundPerInstance, FoundAltogether, FoundAge})
}

// limits bound the records in a folder.
type limits struct {
	perInstance, altogether int
	age                     time.Duration // 0 is none
}

func save(dir string, r Record, l limits) error {
	r.fit()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep a crash: %w", err)
	}
	folder, err := os.MkdirTemp(dir, fresh)
	if err != nil {
		return fmt.Errorf("keep a crash: %w", err)
	}
	if err := r.write(folder); err != nil {
		return errors.Join(fmt.Errorf("keep a crash: %w", err), os.RemoveAll(folder))
	}
	if err := os.Rename(folder, filepath.Join(dir, r.ID)); err != nil {
		return errors.Join(fmt.Errorf("keep a crash: %w", err), os.RemoveAll(folder))
	}
	return sweep(dir, r.Instance, r.Time, l)
}

// fit drops everything but the last call when a record is too big: what is replayed from the middle says nothing.
func (r *Record) fit() {
	size := len(r.State)
	for _, s := range r.Steps {
		size += len(s.Frame)
	}
	if (size > MaxBytes || len(r.Steps) > maxSteps) && len(r.Steps) > 0 {
		r.State, r.Steps, r.Cut = nil, r.Steps[len(r.Steps)-1:], true
	}
	r.HasState = r.State != nil
}

// namedAtMost is how many packets and flows of a finding a record names when all of them are too many.
const namedAtMost = 100

// head is the record as it is written, in at most maxHead bytes, more of which nobody would read: of what was found, packets and flows go first, and then the
// oldest findings.
func (r *Record) head() ([]byte, error) {
	for whole := *r; ; {
		text, err := json.MarshalIndent(whole, "", "  ")
		if err != nil || len(text) < maxHead {
			return append(text, '\n'), err
		}
		short := slices.Clone(whole.Found)
		changed := false
		for i := range short {
			f := &short[i]
			changed = changed || max(len(f.Packets), len(f.Flows)) > namedAtMost
			f.Packets, f.Flows = f.Packets[:min(len(f.Packets), namedAtMost)], f.Flows[:min(len(f.Flows), namedAtMost)]
		}
		if !changed && len(short) > 1 {
			short = short[len(short)/2:]
		} else if !changed {
			return nil, fmt.Errorf("the head of a record has %d bytes, more than %d", len(text), maxHead)
		}
		whole.Found = short
	}
}

func (r *Record) write(dir string) error {
	head, err := r.head()
	if err != nil {
		return err
	}
	files := map[string][]byte{"crash.json": head}
	if r.HasState {
		files["state"] = r.State
	}
	for i, s := range r.Steps {
		if s.Frame != nil {
			files[frameName(i)] = s.Frame
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func frameName(i int) string { return strconv.Itoa(i) + ".frame" }

// List returns the heads of the records below dir, the newest first. What cannot be read is left out.
func List(dir string) []Record {
	entries, _ := os.ReadDir(dir) // none: no records
	var out []Record
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if r, err := head(filepath.Join(dir, e.Name())); err == nil {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Record) int { return b.Time.Compare(a.Time) })
	return out
}

func head(dir string) (Record, error) {
	var r Record
	data, err := readAtMost(filepath.Join(dir, "crash.json"), maxHead)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read %s: %w", filepath.Join(dir, "crash.json"), err)
	}
	if len(r.Steps) > maxSteps {
		return r, fmt.Errorf("read %s: %d calls are more than a record has", dir, len(r.Steps))
	}
	r.ID = filepath.Base(dir)
	return r, nil
}

// Load reads a whole record.
func Load(dir string) (Record, error) {
	r, err := head(dir)
	if err != nil {
		return r, err
	}
	if r.HasState {
		if r.State, err = readAtMost(filepath.Join(dir, "state"), MaxBytes); err != nil {
			return r, err
		}
	}
	for i := range r.Steps {
		if r.Steps[i].Call != "Inspect" {
			continue
		}
		if r.Steps[i].Frame, err = readAtMost(filepath.Join(dir, frameName(i)), 2*MaxBytes); err != nil {
			return r, err
		}
	}
	return r, nil
}

func readAtMost(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("read %s: more than the %d bytes that a record may hold", path, limit)
	}
	return data, err
}

// fresh begins the name of a record that is being written, which takes less than writeTime. One that is older was left by a host that
// died over it.
const (
	fresh     = ".new-"
	writeTime = time.Hour
)

func abandoned(e os.DirEntry) bool {
	info, err := e.Info()
	return err == nil && time.Since(info.ModTime()) > writeTime
}

// sweep removes the oldest records. Their names say whose they are and when they were made.
func sweep(dir, instance string, now time.Time, l limits) error {
	const stamp = len("20060102-150405-000")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	names := slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		if strings.HasPrefix(e.Name(), fresh) && abandoned(e) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
		return len(e.Name()) < stamp || strings.HasPrefix(e.Name(), ".")
	})
	slices.SortFunc(names, func(a, b os.DirEntry) int {
		return strings.Compare(b.Name()[len(b.Name())-stamp:], a.Name()[len(a.Name())-stamp:])
	})
	own := Name(instance, time.Time{})
	own = own[:len(own)-stamp]
	eldest := ""
	if l.age > 0 {
		eldest = Name("", now.Add(-l.age))[1:]
	}
	mine := 0
	for i, e := range names {
		ours := e.Name()[:len(e.Name())-stamp] == own
		if ours {
			mine++
		}
		if i >= l.altogether || ours && mine > l.perInstance || e.Name()[len(e.Name())-stamp:] < eldest {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
