package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/picketwatch/picket/core/kernel/pluginhost/broker"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
)

// A plugin opens the models and data packs that its manifest requires, and no others. Which release of each that is was
// settled when it was installed; the host opens it with the plugin's own bytes, verified and sealed like them, and the
// broker hands out descriptors. Another release of a model is another start: beside the running process, with its state,
// on probation, and taken back like another version of the plugin.

// Requirements is a Verifier that finds what a release requires and opens it; registry/client is one. Without it a plugin
// that requires something does not start.
type Requirements interface {
	Releases
	Required(ctx context.Context, need registry.Requirement, instead func(version string) string) (*client.Installed, error)
}

// model is one that a process may open.
type model struct {
	need   registry.Requirement
	locked registry.Locked
	digest string
	size   int64
	file   *os.File   // nil while it is only chosen
	room   *modelRoom // in which the file lies
}

func (m model) String() string { return m.locked.ID + " " + m.locked.Version }

// heldModel says that a release of a model runs in the place of another one, which could not take over or was taken back.
type heldModel struct {
	Instead string `json:"instead"`
	Of      string `json:"of"`
}

// choose finds the models of a release among what is installed, without reading them.
func (s *supervisor) choose(needs []registry.Requirement) ([]model, error) {
	shelf, ok := s.host.cfg.Registry.(Requirements)
	if !ok && len(needs) > 0 {
		return nil, errors.New("this node has no place for the models that it requires")
	}
	var out []model
	for _, need := range needs {
		in, err := shelf.Required(s.ctx, need, s.instead(need.Plugin))
		if isRevoked(err) && s.letModel(need.Plugin) { // the one that was held; the one that it stood for may be good
			in, err = shelf.Required(s.ctx, need, nil)
		}
		if err != nil {
			return nil, err
		}
		if in == nil {
			continue // a plugin, which is not read
		}
		if err := s.host.cfg.Ceiling.CheckFile(in.ID, in.Version); err != nil {
			return nil, err
		}
		for _, a := range in.Artifacts {
			out = append(out, model{need: need, locked: in.Locked, digest: a.SHA256, size: a.Size}) // there is one
		}
	}
	return out, nil
}

// openModels opens what a release requires. The caller closes it.
func (s *supervisor) openModels(plugin string, needs []registry.Requirement) (_ []model, err error) {
	models, err := s.choose(needs)
	if err != nil {
		return nil, modelRefusal(plugin, err)
	}
	defer func() {
		if err != nil {
			closeModels(models)
		}
	}()
	var size int64
	for i := range models {
		if size += models[i].size; size > registry.MaxModels { // they lie in memory for as long as it runs
			return nil, &refusal{Refused, fmt.Errorf("plugin %s: the models that it requires are larger than %d MiB in all", plugin, registry.MaxModels>>20)}
		}
		if err := s.openModel(&models[i]); err != nil {
			return nil, modelRefusal(plugin, err)
		}
	}
	return models, nil
}

func (s *supervisor) openModel(m *model) error {
	room := &s.host.room
	if err := room.take(m.size); err != nil {
		return fmt.Errorf("%s: %w", m.locked.ID, err)
	}
	art, err := s.host.cfg.Registry.(Requirements).OpenRelease(s.ctx, m.locked.ID, m.locked.Version, registry.RuntimeFile)
	if err != nil {
		room.give(m.size)
		return err
	}
	m.file, m.digest, m.room = art.File, art.Digest, room
	return nil
}

// modelRefusal gives what is wrong with a model the state that it means for the plugin.
func modelRefusal(plugin string, err error) error {
	state := Refused
	if isRevoked(err) {
		state = Revoked
	}
	err = fmt.Errorf("plugin %s cannot open what it requires: %w", plugin, err)
	if no := new(registry.Refusal); errors.As(err, &no) {
		return &refusal{state, err}
	}
	return &trouble{err}
}

func isRevoked(err error) bool {
	var no *registry.Refusal
	return errors.As(err, &no) && no.Reason == registry.Revoked
}

func closeModels(models []model) {
	for _, m := range models {
		if m.file != nil && m.file.Close() == nil { // the first time
			m.room.give(m.size)
		}
	}
}

// modelFiles are the models as the broker hands them out.
func modelFiles(models []model) []broker.Model {
	out := make([]broker.Model, 0, len(models))
	for _, m := range models {
		out = append(out, broker.Model{ID: m.locked.ID, Version: m.locked.Version, Digest: m.digest, File: m.file})
	}
	return out
}

// --- another release of a model ---

// modelRevoked reports whether a model that the process has was withdrawn.
func (s *supervisor) modelRevoked(r *run) bool {
	shelf, ok := s.host.cfg.Registry.(Requirements)
	return ok && slices.ContainsFunc(r.models, func(m model) bool {
		_, err := shelf.Required(s.ctx, m.need, func(string) string { return m.locked.Version })
		return isRevoked(err)
	})
}

// move is a model that is to be another release.
type move struct {
	ID   string `json:"id"`
	From string `json:"from"`
	To   string `json:"to"`
}

// movesOf compares the models of two processes.
func movesOf(before, after []model) []move {
	var out []move
	for _, old := range before {
		for _, m := range after {
			if m.locked.ID == old.locked.ID && (m.locked.Version != old.locked.Version || m.digest != old.digest) {
				out = append(out, move{m.locked.ID, old.locked.Version, m.locked.Version})
			}
		}
	}
	return out
}

// otherModels tells which models a process that starts now would have another release of. What is missing or damaged
// takes nothing from the bytes that run.
func (s *supervisor) otherModels(r *run) []move {
	if len(r.models) == 0 {
		return nil
	}
	now, err := s.choose(r.requires)
	if err != nil {
		return nil
	}
	return movesOf(r.models, now)
}

// describe says what the models are before and after.
func describe(moves []move) (from, to string) {
	var before, after []string
	for _, m := range moves {
		before, after = append(before, m.ID+" "+m.From), append(after, m.ID+" "+m.To)
	}
	return strings.Join(before, ", "), strings.Join(after, ", ")
}

// backwards are the moves of the way back.
func backwards(moves []move) []move {
	out := make([]move, 0, len(moves))
	for _, m := range moves {
		out = append(out, move{ID: m.ID, From: m.To, To: m.From})
	}
	return out
}

// instead is what is held in the place of a model.
func (s *supervisor) instead(id string) func(version string) string {
	return func(version string) string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if h := s.held[id]; h.Of == version {
			return h.Instead
		}
		return ""
	}
}

// letModel ends that a model is held, and reports whether it was.
func (s *supervisor) letModel(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, held := s.held[id]
	delete(s.held, id)
	return held
}

// holdModels goes on with the models before the moves, until yet another release of them comes. It runs under s.mu.
func (s *supervisor) holdModels(moves []move) {
	for _, m := range moves {
		if s.held == nil {
			s.held = map[string]heldModel{}
		}
		s.held[m.ID] = heldModel{Instead: m.From, Of: m.To}
	}
}
