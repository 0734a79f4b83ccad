package intel

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const (
	maxFile = 256 << 20
	maxLine = 64 << 10
	// maxSources are the sources that are told apart, over all lists.
	maxSources = 4096
	maxSource  = 64 // bytes
)

// usual is how sure an entry of a kind is that does not say so, in percent, and how many days it is worth something after it was
// added: addresses change hands, files do not change.
var usual = [kinds]struct {
	confidence uint8
	days       uint32
}{
	address: {60, 30}, network: {50, 90}, domain: {75, 180}, url: {85, 90}, sha256: {95, 0}, md5: {90, 0}, ja3: {50, 365}, ja4: {60, 365},
}

// lists is what the files hold.
type lists struct {
	table   *table
	names   []string // of lists
	sources []string // what entries say who told them; the first is nobody
	refused int      // lines that are no indicator
}

func newLists() *lists { return &lists{table: newTable(), sources: []string{""}} }

// read adds a list: lines of one value each, or of type,value,source,expiry,confidence,added, or one of MISP's warning lists in JSON.
func (l *lists) read(name string, r io.Reader) error {
	in := bufio.NewReaderSize(io.LimitReader(r, maxFile), maxLine)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = bufio.NewReaderSize(io.LimitReader(z, maxFile), maxLine)
	}
	l.names = append(l.names, path.Base(name))
	if head, _ := in.Peek(1); len(head) == 1 && head[0] == '{' {
		return l.readJSON(in)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		if err := l.line(strings.TrimSpace(lines.Text())); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (l *lists) readJSON(r io.Reader) error {
	var list struct {
		List []string `json:"list"`
	}
	if err := json.NewDecoder(r).Decode(&list); err != nil {
		return err
	}
	for _, one := range list.List {
		if err := l.take("", one, entry{}); err != nil {
			return err
		}
	}
	return nil
}

// line reads a line of a list. Files of hosts have an address of this host before a name.
func (l *lists) line(text string) error {
	if text == "" || text[0] == '#' || text[0] == ';' || strings.HasPrefix(text, "//") {
		return nil
	}
	if fields := strings.Split(text, ","); len(fields) >= 2 && knownType(fields[0]) {
		return l.fields(fields)
	}
	words := strings.Fields(text)
	value := words[0]
	if len(words) > 1 && !strings.HasPrefix(words[1], "#") {
		switch _, isAddress := prefix(value); {
		case value == "0.0.0.0" || value == "127.0.0.1":
			value = words[1]
		case !isAddress: // behind one stands how bad it is, or the like
			l.refused++
			return nil
		}
	}
	return l.take("", value, entry{})
}

func knownType(text string) bool {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "type" {
		return true
	}
	for _, name := range kindNames {
		if text == name {
			return true
		}
	}
	return false
}

func (l *lists) fields(fields []string) error {
	for i := range fields {
		fields[i] = strings.Trim(strings.TrimSpace(fields[i]), `"`)
	}
	if strings.EqualFold(fields[0], "type") {
		return nil // the heading
	}
	fields = append(fields, "", "", "", "")
	var e entry
	var ok [3]bool
	e.source = l.source(fields[2])
	e.expires, ok[0] = when(fields[3])
	e.added, ok[2] = when(fields[5])
	percent, err := strconv.ParseFloat(fields[4], 64)
	if ok[1] = err == nil && percent > 0 && percent <= 1; ok[1] {
		e.confidence = uint8(100*percent + 0.5)
	} else {
		ok[1] = fields[4] == ""
	}
	if ok != [3]bool{true, true, true} {
		l.refused++
		return nil
	}
	return l.take(strings.ToLower(fields[0]), fields[1], e)
}

// source numbers who told an entry.
func (l *lists) source(name string) uint16 {
	name = name[:min(len(name), maxSource)]
	for i := len(l.sources) - 1; i >= 0; i-- {
		if l.sources[i] == name {
			return uint16(i)
		}
	}
	if len(l.sources) >= maxSources {
		return 0
	}
	l.sources = append(l.sources, strings.Clone(name))
	return uint16(len(l.sources) - 1)
}

// when reads a day or a time; nothing is never.
func when(text string) (uint32, bool) {
	if text == "" {
		return 0, true
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339, time.DateTime} {
		if at, err := time.Parse(layout, text); err == nil {
			return max(1, hours(at.UnixNano())), true
		}
	}
	return 0, false
}

var errFull = errors.New("more entries than a table holds")

// take adds a value of a type, or of the type that it looks like.
func (l *lists) take(kindName, value string, e entry) error {
	k, ok := guess(value)
	if kindName != "" && ok && kindNames[k] != kindName {
		ok = kindName == kindNames[ja3] && k == md5 || kindName == kindNames[address] && k == network || kindName == kindNames[network] && k == address
		if kindName == kindNames[ja3] {
			k = ja3
		}
	}
	if !ok {
		l.refused++
		return nil
	}
	e.list = uint16(len(l.names) - 1)
	if e.confidence == 0 {
		e.confidence = usual[k].confidence
	}
	if e.expires == 0 && e.added > 0 && usual[k].days > 0 {
		e.expires = e.added + 24*usual[k].days
	}
	var room [32]byte
	added := false
	switch k {
	case address, network:
		p, _ := prefix(value)
		added = l.table.addNetwork(p, e)
	case sha256:
		added = l.table.add(k, digest(&room, value, 32), e)
	case md5, ja3:
		added = l.table.add(k, digest(&room, value, 16), e)
	case domain:
		added = l.table.add(k, []byte(strings.ToLower(strings.Trim(value, "."))), e)
	case url:
		host, target := split(value)
		added = l.table.add(k, page(nil, host, target), e)
	default:
		added = l.table.add(k, []byte(value), e)
	}
	if !added {
		return errFull
	}
	return nil
}

func prefix(value string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(value); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(value)
	return p, err == nil && p.Bits() >= 8
}

// guess tells what a value is by its looks.
func guess(value string) (kind, bool) {
	var room [32]byte
	if p, ok := prefix(value); ok {
		if p.IsSingleIP() {
			return address, true
		}
		return network, true
	}
	switch {
	case digest(&room, value, 32) != nil:
		return sha256, true
	case digest(&room, value, 16) != nil:
		return md5, true
	case strings.HasPrefix(value, "http://"), strings.HasPrefix(value, "https://"):
		host, _ := split(value)
		return url, host != ""
	case len(value) == 36 && value[10] == '_' && value[23] == '_':
		return ja4, true
	}
	return domain, isName(strings.Trim(value, "."))
}

// isName reports whether a text is a name of at least two labels.
func isName(s string) bool {
	if len(s) > longestName || !strings.Contains(s, ".") || strings.Contains(s, "..") {
		return false
	}
	letters := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			letters = true
		case c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return letters
}

// split takes the host and what is asked of it out of a URL.
func split(value string) (host, target string) {
	_, rest, _ := strings.Cut(value, "://")
	rest, _, _ = strings.Cut(rest, "#")
	at := strings.IndexAny(rest, "/?")
	if at < 0 {
		return rest, "/"
	}
	if rest[at] == '?' {
		return rest[:at], "/" + rest[at:]
	}
	return rest[:at], rest[at:]
}

// page is a host, in small letters and without the port that is usual, and what is asked of it.
func page(room []byte, host, target string) []byte {
	for _, usual := range []string{":80", ":443"} {
		host = strings.TrimSuffix(host, usual)
	}
	for i := range len(host) {
		c := host[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		room = append(room, c)
	}
	return append(room, target...)
}

// own adds the entries of the configuration. One that is none is a mistake, which nobody else would notice.
func (l *lists) own(entries []string) error {
	if len(entries) == 0 {
		return nil
	}
	refused := l.refused
	if err := l.read("entries", strings.NewReader(strings.Join(entries, "\n"))); err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "entries: %w", err)
	}
	if l.refused > refused {
		return sdk.Errorf(sdk.InvalidConfig, "entries: %d of them are no indicator", l.refused-refused)
	}
	return nil
}

// load reads files into lists.
func load(host sdk.Host, files []string) (*lists, error) {
	l := newLists()
	for _, name := range files {
		if host == nil {
			return nil, sdk.Errorf(sdk.InvalidConfig, "there is nobody to open %s", name)
		}
		f, err := host.Open(name)
		if err != nil {
			return nil, sdk.Errorf(sdk.InvalidConfig, "lists: %w", err)
		}
		err = l.read(name, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, sdk.Errorf(sdk.InvalidConfig, "lists: %w", fmt.Errorf("%s: %w", name, err))
		}
	}
	return l, nil
}
