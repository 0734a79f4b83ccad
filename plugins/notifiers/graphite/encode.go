package graphite

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

const (
	maxPart   = 200  // bytes between two dots: a path's parts are names of folders to carbon, which may have 255
	maxLabels = 1500 // bytes of all labels; a path of a file may have 4,096

	// pickleBatch bounds one message: carbon takes a megabyte at most.
	pickleBatch = 256
)

func (c *Config) encode(samples []sdk.Sample) []byte {
	var out []byte
	if c.Protocol == "pickle" {
		for chunk := range slices.Chunk(samples, pickleBatch) {
			out = c.appendPickle(out, chunk)
		}
		return out
	}
	for _, s := range samples {
		out = append(out, c.path(s)...)
		out = append(out, ' ')
		out = strconv.AppendFloat(out, s.Value, 'g', -1, 64)
		out = append(out, ' ')
		out = strconv.AppendInt(out, s.Time.Unix(), 10)
		out = append(out, '\n')
	}
	return out
}

// path is where a series lies in Graphite.
func (c *Config) path(s sdk.Sample) string {
	names := slices.Sorted(maps.Keys(s.Labels))
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" || s.Labels[name] == "" })
	metric := hierarchy(s.Metric)
	if c.Names == "tags" {
		return c.Prefix + "." + metric + bounded(names, func(name string) string {
			return ";" + strings.ReplaceAll(escape(name), "%2E", ".") + "=" + cut(escapeTag(s.Labels[name]))
		}, ";labels=")
	}
	host := "-"
	if name := s.Labels["host.name"]; name != "" {
		host = cut(escape(name))
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "host.name" })
	return c.Prefix + "." + host + "." + metric + bounded(names, func(name string) string {
		return "." + cut(strings.ReplaceAll(escape(name), "%2E", "_")) + "." + cut(escape(s.Labels[name]))
	}, ".labels.")
}

// bounded joins what label makes of the names, or what stands for all of it when that is too long.
func bounded(names []string, label func(string) string, instead string) string {
	var out strings.Builder
	for _, name := range names {
		out.WriteString(label(name))
	}
	if out.Len() > maxLabels {
		return instead + digest(out.String())
	}
	return out.String()
}

// hierarchy keeps the dots of a metric's name, and no empty parts.
func hierarchy(metric string) string {
	parts := strings.Split(metric, ".")
	for i, p := range parts {
		if parts[i] = cut(escape(p)); p == "" {
			parts[i] = "-"
		}
	}
	return strings.Join(parts, ".")
}

// escape writes what Graphite, or a file system, could take for something else as %XX, so that different names stay different.
func escape(text string) string {
	return escapeBut(text, func(c byte) bool { return c == '_' || c == '-' })
}

// escapeTag leaves more as it is: the value of a tag is no name of a folder.
func escapeTag(text string) string {
	return escapeBut(text, func(c byte) bool { return strings.IndexByte("_-./:@+,()", c) >= 0 })
}

func escapeBut(text string, plain func(byte) bool) string {
	const hexDigits = "0123456789ABCDEF"
	out := make([]byte, 0, len(text))
	for _, c := range []byte(text) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || plain(c) {
			out = append(out, c)
			continue
		}
		out = append(out, '%', hexDigits[c>>4], hexDigits[c&15])
	}
	return string(out)
}

// cut shortens a part that would be too long, and keeps it different from others.
func cut(part string) string {
	if len(part) <= maxPart {
		return part
	}
	return part[:maxPart-17] + "~" + digest(part)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// appendPickle writes a message of carbon's pickle receiver: the length, and a list of (path, (time, value)) in Python's pickle
// protocol 2.
func (c *Config) appendPickle(out []byte, samples []sdk.Sample) []byte {
	var b bytes.Buffer
	b.WriteString("\x80\x02](") // protocol 2, an empty list, and a mark before what is added to it
	for _, s := range samples {
		path := c.path(s)
		b.WriteByte('X')                                                  // a text, by its length
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(path)))) //nolint:gosec // bounded by maxLabels and the length of a metric's name
		b.WriteString(path)
		at := binary.LittleEndian.AppendUint64(nil, uint64(s.Time.Unix())) //nolint:gosec // two's complement is what it wants
		b.WriteString("\x8a\x08")                                          // an integer of eight bytes
		b.Write(at)
		b.WriteByte('G') // a number of eight bytes
		b.Write(binary.BigEndian.AppendUint64(nil, math.Float64bits(s.Value)))
		b.WriteString("\x86\x86") // a pair of the last two, and of the path and that
	}
	b.WriteString("e.")
	out = binary.BigEndian.AppendUint32(out, uint32(b.Len())) //nolint:gosec // bounded by pickleBatch
	return append(out, b.Bytes()...)
}
