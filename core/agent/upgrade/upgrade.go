// Package upgrade keeps the versions of the agent that this machine got by updates, and decides which of them runs. The
// program that was installed here (the base) is started by whoever starts the agent; it looks here and hands over. It is
// never changed, so that whatever happens to an update there is one to come back to.
//
// A new version is first tried: it runs as a child of the base until the server has taken a report from it. One that does
// not get that far in time, or ends, is given up, and the version before runs again. What is decided is on disk before it
// is acted on, so that a crash at any point leaves one of the two.
package upgrade

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/registry/agentpack"
)

// Build is a version of the agent that was unpacked here.
type Build struct {
	Version string            `json:"version"`
	Folder  string            `json:"folder"` // its name
	Files   map[string]string `json:"files"`  // digests, by name
}

// Trial is a version that has not proved itself.
type Trial struct {
	Build
	Order  string `json:"order"`  // the command that asked for it
	Starts int    `json:"starts"` // how often it was started
}

// Outcome is what became of an update; somebody still has to be told.
type Outcome struct {
	Order   string `json:"order"`
	Version string `json:"version"`
	Problem string `json:"problem,omitempty"` // why it was given up; "" when it runs
}

// state is what is on disk.
type state struct {
	Current *Build   `json:"current,omitempty"` // absent: the base
	Trial   *Trial   `json:"trial,omitempty"`
	Outcome *Outcome `json:"outcome,omitempty"`
}

// MaxStarts is how often a version is started that never proves itself: a machine may lose power during a trial.
const MaxStarts = 3

// Shelf is the folder of one agent's versions. One process changes it at a time: the base while a version is tried, the
// agent when it takes a new one.
type Shelf struct {
	dir  string
	goos string
}

// Open names the shelf below an agent's data folder. There may be nothing yet.
func Open(data, goos string) *Shelf { return &Shelf{dir: filepath.Join(data, "programs"), goos: goos} }

func (s *Shelf) file() string { return filepath.Join(s.dir, "state.json") }

func (s *Shelf) read() (state, error) {
	var st state
	if info, err := os.Stat(s.dir); err != nil || !info.IsDir() {
		return st, nil // whoever needs the folder says what is wrong with it
	}
	raw, err := os.ReadFile(s.file())
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &st)
	}
	if err != nil {
		return state{}, fmt.Errorf("read which version of the agent runs (%s): %w; remove the file to run the installed one", s.file(), err)
	}
	return st, nil
}

// write replaces the state in one step and is durable when it returns.
func (s *Shelf) write(st state) error {
	raw, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(s.dir, ".state-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(raw, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), s.file()); err != nil {
		return err
	}
	return syncDir(s.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Stage unpacks a verified archive and notes it as the version to try next, for an order. Nothing runs differently until
// the base looks. What no version needs any more is removed.
func (s *Shelf) Stage(version, order string, archive io.Reader) (err error) {
	st, err := s.read()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("stage the agent %s: %w", version, err)
	}
	st.Trial = nil
	s.sweep(st)
	dir, err := os.MkdirTemp(s.dir, "build-")
	if err != nil {
		return fmt.Errorf("stage the agent %s: %w", version, err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	b := Build{Version: version, Folder: filepath.Base(dir), Files: map[string]string{}}
	err = agentpack.Read(archive, s.goos, func(name string, size int64, r io.Reader) error {
		b.Files[name], err = put(filepath.Join(dir, name), size, r)
		return err
	})
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("stage the agent %s: %w", version, err)
	}
	st.Trial, st.Outcome = &Trial{Build: b, Order: order}, nil
	return s.write(st)
}

// put writes a program durably and returns its digest.
func put(path string, size int64, r io.Reader) (string, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return hex.EncodeToString(sum.Sum(nil)), errors.Join(err, f.Sync(), f.Close())
}

// sweep removes what no version of the state is in. What cannot be removed is tried again with the next update.
func (s *Shelf) sweep(st state) {
	keep := []string{filepath.Base(s.file())}
	if st.Current != nil {
		keep = append(keep, st.Current.Folder)
	}
	if st.Trial != nil {
		keep = append(keep, st.Trial.Folder)
	}
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		if !slices.Contains(keep, e.Name()) {
			_ = os.RemoveAll(filepath.Join(s.dir, e.Name()))
		}
	}
}

// Choice is what to run: the program of a folder, or the base itself when Program is "".
type Choice struct {
	Program string
	Version string
	Trial   bool
}

// Next decides what the base, whose own version is given, runs now. A trial is counted before it begins; one that was
// started too often, or whose files are not what was unpacked, is given up.
func (s *Shelf) Next(own string) (Choice, error) {
	st, err := s.read()
	if err != nil {
		return Choice{}, err
	}
	if t := st.Trial; t != nil {
		why := s.check(t.Build)
		if why == nil && t.Starts >= MaxStarts {
			why = fmt.Errorf("it was started %d times and never reported to the server", t.Starts)
		}
		if why == nil {
			t.Starts++
			return Choice{s.program(t.Build), t.Version, true}, s.write(st)
		}
		if err := s.Failed(why.Error()); err != nil {
			return Choice{}, err
		}
		return s.Next(own)
	}
	if st.Current == nil || !Newer(st.Current.Version, own) { // somebody installed a newer one
		return Choice{}, nil
	}
	if err := s.check(*st.Current); err != nil {
		return Choice{}, fmt.Errorf("the agent %s is not run: %w", st.Current.Version, err)
	}
	return Choice{s.program(*st.Current), st.Current.Version, false}, nil
}

func (s *Shelf) program(b Build) string {
	return filepath.Join(s.dir, b.Folder, agentpack.Name(agentpack.Programs[0], s.goos))
}

// check hashes the programs again: they lie where the agent writes.
func (s *Shelf) check(b Build) error {
	if filepath.Base(b.Folder) != b.Folder || len(b.Files) != len(agentpack.Programs) {
		return errors.New("its folder is not known")
	}
	for _, program := range agentpack.Programs {
		name := agentpack.Name(program, s.goos)
		f, err := os.Open(filepath.Join(s.dir, b.Folder, name))
		if err != nil {
			return err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, f)
		f.Close()
		if err != nil {
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != b.Files[name] {
			return fmt.Errorf("%s was changed on disk", name)
		}
	}
	return nil
}

// Proven makes the version on trial the one that runs.
func (s *Shelf) Proven() error {
	st, err := s.read()
	if err != nil || st.Trial == nil {
		return err
	}
	st.Outcome = &Outcome{Order: st.Trial.Order, Version: st.Trial.Version}
	st.Current, st.Trial = &st.Trial.Build, nil
	if err := s.write(st); err != nil {
		return err
	}
	s.sweep(st)
	return nil
}

// Failed gives the version on trial up.
func (s *Shelf) Failed(why string) error {
	st, err := s.read()
	if err != nil || st.Trial == nil {
		return err
	}
	st.Outcome = &Outcome{Order: st.Trial.Order, Version: st.Trial.Version, Problem: why}
	st.Trial = nil
	if err := s.write(st); err != nil {
		return err
	}
	s.sweep(st)
	return nil
}

// Withdraw gives up a version that proved itself, if it is the one that runs: the base runs again. Its files stay until the next
// update, for they run.
func (s *Shelf) Withdraw(version string) (gone bool, err error) {
	st, err := s.read()
	if err != nil || st.Current == nil || st.Current.Version != version {
		return false, err
	}
	st.Current = nil
	return true, s.write(st)
}

// Trying is the order whose version is on trial, "" when none is.
func (s *Shelf) Trying() (string, error) {
	st, err := s.read()
	if err != nil || st.Trial == nil {
		return "", err
	}
	return st.Trial.Order, nil
}

// Outcome is what became of the last update, nil once Told was called.
func (s *Shelf) Outcome() (*Outcome, error) {
	st, err := s.read()
	return st.Outcome, err
}

// Told forgets the outcome.
func (s *Shelf) Told() error {
	st, err := s.read()
	if err != nil || st.Outcome == nil {
		return err
	}
	st.Outcome = nil
	return s.write(st)
}

// Newer reports whether version a is younger than b. What is no version is older than what is.
func Newer(a, b string) bool {
	va, err := semver.StrictNewVersion(a)
	if err != nil {
		return false
	}
	vb, err := semver.StrictNewVersion(b)
	return err != nil || va.GreaterThan(vb)
}
