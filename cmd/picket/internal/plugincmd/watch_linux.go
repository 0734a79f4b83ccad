package plugincmd

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"sync"

	"github.com/picketwatch/picket/core/kernel/pluginhost/broker"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/brokerwire"
	"github.com/picketwatch/picket/sdk/kit"
	"github.com/picketwatch/picket/sdk/reach"
)

// watchWith puts production's broker between a plugin and the world, so that the kit sees what it asks for.
// models are files by their id.
func watchWith(state string, models map[string]string) func(cmd *exec.Cmd) (kit.Watcher, error) {
	return func(cmd *exec.Cmd) (kit.Watcher, error) {
		conn, child, err := broker.Pair()
		if err != nil {
			return nil, err
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, child)
		cmd.Env = append(cmd.Env, brokerwire.Env+"="+strconv.Itoa(2+len(cmd.ExtraFiles)))
		w := &watch{state: state, conn: conn, child: child}
		for id, path := range models {
			if err := w.addModel(id, path); err != nil {
				return nil, errors.Join(err, w.Close())
			}
		}
		return w, nil
	}
}

type watch struct {
	state  string
	child  *os.File
	models []broker.Model

	mu     sync.Mutex // guards what follows
	conn   *os.File   // until a broker takes it over
	broker *broker.Broker
}

// Granted begins to serve: the process asks for nothing before it is configured.
func (w *watch) Granted(cfg abi.InstanceConfig) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broker != nil {
		return
	}
	w.broker = broker.New(broker.Config{Instance: cfg.Instance, Grants: cfg.Grants, State: w.state})
	go w.broker.ServeWith(w.conn, broker.Belongings{State: reach.State(w.state), Models: w.models}) //nolint:errcheck // a process that breaks the protocol fails the calls that the kit makes
	w.conn = nil
}

// addModel opens a file as if it were a release of a model.
func (w *watch) addModel(id, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	w.models = append(w.models, broker.Model{ID: id, Version: "0.0.0", File: f})
	digest, _, err := hashFile(path)
	w.models[len(w.models)-1].Digest = digest
	return err
}

func (w *watch) Use() []kit.Use {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broker == nil {
		return nil
	}
	list, _ := w.broker.Use()
	out := make([]kit.Use, 0, len(list))
	for _, u := range list {
		out = append(out, kit.Use{Cap: u.Cap, Detail: u.Detail, Denied: u.Denied > 0})
	}
	return out
}

func (w *watch) Close() error {
	w.child.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		w.conn.Close()
	}
	for _, m := range w.models {
		defer m.File.Close()
	}
	if w.broker != nil {
		return w.broker.Close()
	}
	return nil
}
