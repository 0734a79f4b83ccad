package plugincmd

import (
	"os"
	"os/exec"
	"strconv"
	"sync"

	"github.com/picketwatch/picket/core/kernel/pluginhost/broker"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/brokerwire"
	"github.com/picketwatch/picket/sdk/kit"
)

// watchWith puts production's broker between a plugin and the world, so that the kit sees what it asks for.
func watchWith(state string) func(cmd *exec.Cmd) (kit.Watcher, error) {
	return func(cmd *exec.Cmd) (kit.Watcher, error) {
		conn, child, err := broker.Pair()
		if err != nil {
			return nil, err
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, child)
		cmd.Env = append(cmd.Env, brokerwire.Env+"="+strconv.Itoa(2+len(cmd.ExtraFiles)))
		return &watch{state: state, conn: conn, child: child}, nil
	}
}

type watch struct {
	state string
	child *os.File

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
	go w.broker.Serve(w.conn) //nolint:errcheck // a process that breaks the protocol fails the calls that the kit makes
	w.conn = nil
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
	if w.broker != nil {
		return w.broker.Close()
	}
	return nil
}
