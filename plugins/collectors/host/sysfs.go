package host

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	maxAttribute = 256 // bytes of one file of /sys that are read
	maxName      = 64  // bytes of what a chip or its driver calls something
	maxParts     = 512 // sensors, batteries and supplies of one machine
)

// folder is a folder of /sys in which each file holds one value. A value that cannot be read now (a sensor that sleeps, a
// battery that was pulled) is not there, which is no error.
type folder string

// below returns the folders in dir, in order; there are none when dir is not there.
func below(dir string) []folder {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	out := make([]folder, 0, len(entries))
	for _, e := range entries {
		out = append(out, folder(filepath.Join(dir, e.Name())))
	}
	return out
}

func (f folder) base() string { return filepath.Base(string(f)) }

func (f folder) read(name string) (string, bool) {
	file, err := os.Open(filepath.Join(string(f), name))
	if err != nil {
		return "", false
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxAttribute))
	return strings.TrimSpace(string(text)), err == nil
}

// text is what is for a person to read.
func (f folder) text(name string) string {
	s, _ := f.read(name)
	return clip(s)
}

// number is a whole number in thousandths, millionths or ones, by the divisor.
func (f folder) number(name string, divisor float64) (float64, bool) {
	s, ok := f.read(name)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return float64(n) / divisor, err == nil
}

// device is the last part of the path of what the link named device leads to.
func (f folder) device() string {
	to, err := filepath.EvalSymlinks(filepath.Join(string(f), "device"))
	if err != nil || filepath.Base(to) == "device" {
		return ""
	}
	return clip(filepath.Base(to))
}

// clip keeps what a driver says short and printable.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}
