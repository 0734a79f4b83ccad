package runner

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/picketwatch/picket/sdk/abi"
)

// maxLogLine is the longest line that a guest may log.
const maxLogLine = 16 << 10

// hostModule offers what a guest may import besides WASI.
func (g *Guest) hostModule(ctx context.Context) error {
	b := g.runtime.NewHostModuleBuilder(abi.Module).
		NewFunctionBuilder().WithFunc(g.log).Export(abi.ImportLog).
		NewFunctionBuilder().WithFunc(func() int64 { return time.Now().UnixNano() }).Export(abi.ImportNow)
	_, err := g.outside.export(b).Instantiate(ctx)
	return err
}

// log takes one line: JSON as log/slog writes it, or plain text.
func (g *Guest) log(ctx context.Context, m api.Module, level int32, ptr, length uint32) {
	line, ok := m.Memory().Read(ptr, min(length, maxLogLine))
	if !ok {
		return
	}
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil {
		g.cfg.Log.Log(ctx, slog.Level(level), strings.ToValidUTF8(string(line), "\uFFFD"))
		return
	}
	msg, _ := fields["msg"].(string)
	delete(fields, "msg")
	delete(fields, "level")
	delete(fields, "time")
	attrs := make([]slog.Attr, 0, len(fields))
	for name, v := range fields {
		attrs = append(attrs, slog.Any(name, v))
	}
	g.cfg.Log.LogAttrs(ctx, slog.Level(level), msg, attrs...)
}

// imports are the names that hostModule offers.
var imports = map[string]bool{
	abi.ImportLog: true, abi.ImportNow: true, abi.ImportTake: true,
	abi.ImportDial: true, abi.ImportOpen: true, abi.ImportFetch: true, abi.ImportStateGet: true, abi.ImportStatePut: true,
	abi.ImportRead: true, abi.ImportWrite: true, abi.ImportSeek: true, abi.ImportDeadline: true, abi.ImportClose: true,
}
