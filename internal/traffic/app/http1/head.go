package http1

import (
	"strconv"
	"strings"
)

// unknown is the length of a body that does not say its own.
const unknown = -1

// head collects the lines of a head in one buffer, which becomes one string.
type head struct {
	text    []byte
	ends    []int // of the lines in text
	first   string
	headers []Header
}

func (h *head) reset() {
	h.text, h.ends, h.headers, h.first = h.text[:0], h.ends[:0], h.headers[:0], ""
	if cap(h.text) > 16<<10 {
		h.text = nil
	}
}

// add keeps a line, within the limits.
func (h *head) add(line []byte) bool {
	if len(h.ends) > maxHeaders || len(h.text)+len(line) > maxHead {
		return false
	}
	h.text = append(h.text, line...)
	h.ends = append(h.ends, len(h.text))
	return true
}

// resolve cuts the lines into names and values. A line without a colon, or one that continues the line before, is left out.
func (h *head) resolve() {
	text := string(h.text)
	from := 0
	for i, end := range h.ends {
		line := text[from:end]
		from = end
		if i == 0 {
			h.first = line
			continue
		}
		if name, value, ok := strings.Cut(line, ":"); ok && name != "" && name[0] != ' ' && name[0] != '\t' {
			h.headers = append(h.headers, Header{Name: strings.TrimRight(name, " \t"), Value: strings.Trim(value, " \t")})
		}
	}
}

func (h *head) value(name string) string {
	for i := range h.headers {
		if equalFold(h.headers[i].Name, name) {
			return h.headers[i].Value
		}
	}
	return ""
}

func equalFold(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// chunked reports whether the body comes in chunks, which is the last coding that Transfer-Encoding names.
func (h *head) chunked() bool {
	coding := h.value("Transfer-Encoding")
	if i := strings.LastIndexByte(coding, ','); i >= 0 {
		coding = coding[i+1:]
	}
	return equalFold(strings.TrimSpace(coding), "chunked")
}

// length is that of the body as announced, or unknown. Chunks count before Content-Length (RFC 9112 section 6.3).
func (h *head) length() int64 {
	if h.chunked() {
		return unknown
	}
	n, err := strconv.ParseUint(h.value("Content-Length"), 10, 63)
	if err != nil {
		return unknown
	}
	return int64(n)
}

func requestLine(line string) (method, target string, minor int, ok bool) {
	method, rest, ok := strings.Cut(line, " ")
	if !ok || method == "" {
		return "", "", 0, false
	}
	i := strings.LastIndex(rest, " HTTP/1.")
	if i < 0 {
		return method, strings.TrimRight(rest, " "), 0, !strings.Contains(rest, " ")
	}
	version := rest[i+len(" HTTP/1."):]
	if version == "" || version[0] < '0' || version[0] > '9' {
		return "", "", 0, false
	}
	return method, strings.TrimLeft(rest[:i], " "), int(version[0] - '0'), true
}

func statusLine(line string) (minor, status int, reason string, ok bool) {
	if recogniseStatus([]byte(line[:min(len(line), 12)])) == 0 || len(line) < 12 {
		return 0, 0, "", false
	}
	status, err := strconv.Atoi(line[9:12])
	if err != nil {
		return 0, 0, "", false
	}
	return int(line[7] - '0'), status, strings.TrimLeft(line[12:], " "), true
}
