package pluginhost

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Transition is one change in the life of an instance.
type Transition struct {
	Time    time.Time `json:"time"`
	State   State     `json:"state"`
	Reason  string    `json:"reason,omitempty"` // why, or what else happened: an upgrade, a way back
	Version string    `json:"version,omitempty"`
}

// maxHistory is how many transitions are kept of each instance, statusHistory how many of them a status carries.
const (
	maxHistory    = 100
	statusHistory = 20
)

// Memory keeps what a host knows about its instances over a restart: an opaque text for each.
type Memory interface {
	// LoadInstance returns nil when there is nothing.
	LoadInstance(name string) ([]byte, error)
	// SaveInstance replaces the text; nil removes it.
	SaveInstance(name string, text []byte) error
}

// remembered is that text.
type remembered struct {
	Plugin     string               `json:"plugin"`
	Settings   string               `json:"settings"` // a MAC of what was assigned when this was written
	History    []Transition         `json:"history,omitempty"`
	Crashes    []time.Time          `json:"crashes,omitempty"`
	Quarantine string               `json:"quarantine,omitempty"` // why it is quarantined
	Wanted     string               `json:"wanted,omitempty"`     // the version that was assigned
	Pin        string               `json:"pin,omitempty"`        // the version that runs in spite of it
	Previous   string               `json:"previous,omitempty"`   // the version to go back to
	Upgrade    *Upgrade             `json:"upgrade,omitempty"`
	Probation  *probation           `json:"probation,omitempty"`
	Models     map[string]heldModel `json:"models,omitempty"`
}

// maxRemembered bounds what is read: a hundred reasons of a kilobyte and some.
const maxRemembered = 1 << 20

// settingsMAC identifies an assignment without telling its secrets. The interval is the schedulers' business alone.
func (h *Host) settingsMAC(a Assignment) string {
	a.Interval, a.From = 0, "" // no reason to try again
	text, err := json.Marshal(a)
	if err != nil {
		return "" // an assignment was JSON before
	}
	mac := hmac.New(sha256.New, h.guestKey)
	mac.Write([]byte("settings\x00"))
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil))
}

// recall takes over what an earlier host knew about the instance. It runs before the supervisor does.
func (s *supervisor) recall(a Assignment) {
	text, err := s.host.cfg.Memory.LoadInstance(s.name)
	if err != nil {
		s.host.cfg.Log.Warn("the history of an instance cannot be read", "instance", s.name, "problem", err)
		return
	}
	var m remembered
	if len(text) == 0 {
		return
	}
	if len(text) > maxRemembered || json.Unmarshal(text, &m) != nil {
		s.host.cfg.Log.Warn("the history of an instance is damaged; it begins anew", "instance", s.name)
		return
	}
	if m.Plugin != a.Plugin {
		return
	}
	s.history = m.History[max(0, len(m.History)-maxHistory):]
	s.previous, s.state.Upgrade, s.held = m.Previous, m.Upgrade, m.Models
	if m.Wanted == a.Version {
		s.pin, s.probation = m.Pin, m.Probation
	} else if m.Upgrade != nil && m.Upgrade.State == UpgradeProbation {
		s.state.Upgrade.State = UpgradeDone
	}
	if m.Settings != s.host.settingsMAC(a) {
		return // somebody changed it meanwhile, which is a new try
	}
	s.crashes.times, s.quarantine = m.Crashes, m.Quarantine
}

// remember writes down what the next host has to know. It is called after each change of state, on the supervisor's
// goroutine; what a crash of this machine loses is the last change at most.
func (s *supervisor) remember() {
	s.saving.Lock()
	defer s.saving.Unlock()
	if s.forgotten {
		return
	}
	s.mu.Lock()
	m := remembered{
		Plugin: s.state.Plugin, History: slices.Clone(s.history), Crashes: slices.Clone(s.crashes.times), Quarantine: s.quarantine,
		Pin: s.pin, Previous: s.previous, Upgrade: s.state.Upgrade.copy(), Probation: s.probation.copy(),
		Models: maps.Clone(s.held),
	}
	want := s.lastWanted
	if s.want != nil {
		want = *s.want
	}
	s.mu.Unlock()
	m.Wanted, m.Settings = want.Version, s.host.settingsMAC(want)
	text, err := json.Marshal(m)
	if err == nil {
		err = s.host.cfg.Memory.SaveInstance(s.name, text)
	}
	if err != nil {
		s.host.cfg.Log.Warn("the history of an instance cannot be kept", "instance", s.name, "problem", err)
	}
}

// forgetAll removes what was written down, for good.
func (s *supervisor) forgetAll() {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.forgotten = true
	if err := s.host.cfg.Memory.SaveInstance(s.name, nil); err != nil {
		s.host.cfg.Log.Warn("the history of an instance cannot be removed", "instance", s.name, "problem", err)
	}
}

// enter appends to the history. It runs under s.mu.
func (s *supervisor) enter(reason string) {
	s.history = append(s.history, Transition{Time: s.host.cfg.Now().UTC(), State: s.state.State, Reason: reason, Version: s.state.Version})
	if len(s.history) > maxHistory {
		s.history = slices.Clone(s.history[len(s.history)-maxHistory:])
	}
}

// note writes something into the history that changes no state.
func (s *supervisor) note(text string) {
	text = s.log.blank(text)
	s.mu.Lock()
	s.enter(text)
	s.notify()
	s.mu.Unlock()
	s.host.cfg.Log.Info("plugin", "instance", s.name, "event", text)
	s.remember()
	s.host.cfg.Events.Publish(s.status())
}

// History returns the last hundred transitions of an instance, the oldest first.
func (h *Host) History(instance string) ([]Transition, error) {
	s, err := h.supervisor(instance)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history), nil
}

// FileMemory keeps one file for each instance.
type FileMemory struct{ Dir string }

func (f FileMemory) path(name string) string {
	return filepath.Join(f.Dir, "m-"+url.PathEscape(name)+".json")
}

// LoadInstance implements Memory.
func (f FileMemory) LoadInstance(name string) ([]byte, error) {
	text, err := os.ReadFile(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// SaveInstance implements Memory. It replaces the file in one step but does not wait for the disk: a transition is not
// worth a flush, and a file that a power failure emptied only costs the history.
func (f FileMemory) SaveInstance(name string, text []byte) error {
	if text == nil {
		err := os.Remove(f.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	tmp, err := os.CreateTemp(f.Dir, ".new-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), f.path(name))
}
