package redis

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/sdk"
)

const (
	maxLines     = 4096
	maxDatabases = 256
)

// info is the answer to INFO: lines of name:value below headings.
type info map[string]string

func parse(text []byte) info {
	out := info{}
	for line := range bytes.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		if ok && len(out) < maxLines {
			out[name] = value
		}
	}
	return out
}

// number returns a value. What is missing, or no number, is not there.
func (i info) number(name string) (float64, bool) {
	n, err := strconv.ParseFloat(i[name], 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// fields are the lines that become one series each.
var fields = []struct {
	name, metric, unit string
	kind               sdk.MetricType
	labels             []string
}{
	{"uptime_in_seconds", "redis.uptime", "s", sdk.Counter, nil},
	{"used_cpu_sys", "redis.cpu.time", "s", sdk.Counter, []string{"state", "sys"}},
	{"used_cpu_user", "redis.cpu.time", "s", sdk.Counter, []string{"state", "user"}},
	{"used_cpu_sys_children", "redis.cpu.time", "s", sdk.Counter, []string{"state", "sys_children"}},
	{"used_cpu_user_children", "redis.cpu.time", "s", sdk.Counter, []string{"state", "user_children"}},
	{"connected_clients", "redis.clients.connected", "{client}", sdk.Gauge, nil},
	{"blocked_clients", "redis.clients.blocked", "{client}", sdk.Gauge, nil},
	{"client_recent_max_input_buffer", "redis.clients.max_input_buffer", "By", sdk.Gauge, nil},
	{"client_recent_max_output_buffer", "redis.clients.max_output_buffer", "By", sdk.Gauge, nil},
	{"total_connections_received", "redis.connections.received", "{connection}", sdk.Counter, nil},
	{"rejected_connections", "redis.connections.rejected", "{connection}", sdk.Counter, nil},
	{"instantaneous_ops_per_sec", "redis.commands", "{ops}/s", sdk.Gauge, nil},
	{"total_commands_processed", "redis.commands.processed", "{command}", sdk.Counter, nil},
	{"total_net_input_bytes", "redis.net.input", "By", sdk.Counter, nil},
	{"total_net_output_bytes", "redis.net.output", "By", sdk.Counter, nil},
	{"used_memory", "redis.memory.used", "By", sdk.Gauge, nil},
	{"used_memory_peak", "redis.memory.peak", "By", sdk.Gauge, nil},
	{"used_memory_rss", "redis.memory.rss", "By", sdk.Gauge, nil},
	{"used_memory_lua", "redis.memory.lua", "By", sdk.Gauge, nil},
	{"mem_fragmentation_ratio", "redis.memory.fragmentation_ratio", "1", sdk.Gauge, nil},
	{"maxmemory", "redis.maxmemory", "By", sdk.Gauge, nil},
	{"expired_keys", "redis.keys.expired", "{key}", sdk.Counter, nil},
	{"evicted_keys", "redis.keys.evicted", "{key}", sdk.Counter, nil},
	{"keyspace_hits", "redis.keyspace.hits", "{hit}", sdk.Counter, nil},
	{"keyspace_misses", "redis.keyspace.misses", "{miss}", sdk.Counter, nil},
	{"rdb_changes_since_last_save", "redis.rdb.changes_since_last_save", "{change}", sdk.Gauge, nil},
	{"latest_fork_usec", "redis.latest_fork", "us", sdk.Gauge, nil},
	{"connected_slaves", "redis.slaves.connected", "{replica}", sdk.Gauge, nil},
	{"master_repl_offset", "redis.replication.offset", "By", sdk.Gauge, nil},
	{"repl_backlog_first_byte_offset", "redis.replication.backlog_first_byte_offset", "By", sdk.Gauge, nil},
}

// samples adds what the server says of itself, and reports whether it said anything.
func (i info) samples(out *measure.Samples) bool {
	for _, f := range fields {
		n, ok := i.number(f.name)
		switch {
		case !ok || f.name == "maxmemory" && n == 0: // 0 means that there is no limit
		case f.kind == sdk.Counter:
			out.Counter(f.metric, f.unit, n, f.labels...)
		default:
			out.Gauge(f.metric, f.unit, n, f.labels...)
		}
	}
	if role := map[string]string{"master": "primary", "slave": "replica"}[i["role"]]; role != "" {
		out.Gauge("redis.role", "{role}", 1, "role", role)
	}
	i.databases(out)
	return out.Len() > 0
}

// databases adds the lines "db0:keys=2,expires=0,avg_ttl=0".
func (i info) databases(out *measure.Samples) {
	var numbers []int
	for name := range i {
		if n, ok := database(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, cmp.Compare[int])
	for _, n := range numbers[:min(len(numbers), maxDatabases)] {
		db := strconv.Itoa(n)
		values := info{}
		for pair := range strings.SplitSeq(i["db"+db], ",") {
			name, value, _ := strings.Cut(pair, "=")
			values[name] = value
		}
		for _, f := range []struct{ name, metric, unit string }{
			{"keys", "redis.db.keys", "{key}"}, {"expires", "redis.db.expires", "{key}"}, {"avg_ttl", "redis.db.avg_ttl", "ms"},
		} {
			if v, ok := values.number(f.name); ok {
				out.Gauge(f.metric, f.unit, v, "db", db)
			}
		}
	}
}

func database(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "db")
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n), ok && err == nil && strconv.FormatUint(n, 10) == digits
}
