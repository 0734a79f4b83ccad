package core

import (
	"path/filepath"

	"github.com/picketwatch/picket/core/kernel/store"
)

// SQLWorker is the command with which picketd becomes the process of one query.
const SQLWorker = "sql-worker"

func (c *Core) sqlConsole() *store.SQLConsole {
	return &store.SQLConsole{Control: c.control, Telemetry: c.telemetry, Flows: c.flows, Dir: c.folder.path("sql"),
		Worker: []string{filepath.Join(c.cfg.Programs, "picketd"), SQLWorker}, Now: c.cfg.Now}
}
