package exfil

import (
	"math/bits"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// sign is something that speaks for a program that steals, and against a person.
type sign uint8

const (
	inClear   sign = 1 << iota // a login that everybody on the way could read
	computer                   // a name holds that of the computer
	secrets                    // a name says what was stolen
	noClient                   // a mail without what programs for mail put into it; files stored without a look at what is there
	toOneself                  // a mail to who sent it
	stamped                    // a name holds a time
	repeated                   // three or more
)

const (
	minPoints = 4
	few       = 3
	maxText   = 64
)

// points are 1 for each sign, 2 for those without which nothing is told.
func (s sign) points() int {
	return bits.OnesCount8(uint8(s)) + bits.OnesCount8(uint8(s&(computer|secrets)))
}

type dropKey struct {
	src, dst bare.Addr
	mail     bool
}

// drop is what a host leaves at a server outside by FTP or SMTP.
type drop struct {
	key       dropKey
	port      uint16
	name      string // that the client has for itself
	clear     bool
	looked    bool // at what is there
	sent      uint64
	best      sign   // of one mail or file
	example   string // with the most signs
	told      uint64
	toldSigns sign
	evidence.Evidence
}

// clipped is a copy of a text, not too long.
func clipped(text string) string {
	return strings.Clone(strings.ToValidUTF8(text[:min(len(text), maxText)], ""))
}

// message reads mails and files that leave.
func (d *Detector) message(m *sdk.Message, sink sdk.FindingSink) error {
	mail := m.Protocol == "smtp"
	if !mail && m.Protocol != "ftp" {
		return nil
	}
	if mail && contain(d.internal, m.Server) {
		d.inside(bare.Of(m.Server)).mails = true
	}
	if !d.leaves(m.Client, m.Server) {
		return nil
	}
	o, err := d.drop(dropKey{bare.Of(m.Client), bare.Of(m.Server), mail}, m, sink)
	if err != nil {
		return err
	}
	if mail {
		return d.mail(o, m, sink)
	}
	return d.command(o, m, sink)
}

func (d *Detector) drop(key dropKey, m *sdk.Message, sink sdk.FindingSink) (*drop, error) {
	if o, known := d.drops.Get(key); known {
		return o, nil
	}
	if old, full := d.drops.Crowded(); full {
		if err := d.judgeDrop(old, true, sink); err != nil {
			return nil, err
		}
		d.drops.Forget(old.key)
	}
	o := &drop{key: key, port: m.ServerPort}
	d.drops.Put(key, o)
	return o, nil
}

// mail takes a message of SMTP.
func (d *Detector) mail(o *drop, m *sdk.Message, sink sdk.FindingSink) error {
	switch m.Name {
	case "session":
		if hello := m.Fields["hello"]; !strings.ContainsAny(hello, ".:[") && o.name != hello {
			o.name = clipped(hello)
		}
	case "command":
		o.clear = o.clear || m.Text == "AUTH" && m.Code == "235"
	case "mail":
		if m.Code != "250" {
			return nil
		}
		var s sign
		files := m.Fields["files"]
		s |= d.nameSigns(o, m.Text) | d.nameSigns(o, files)
		if m.Fields["message_id"] == "" && m.Fields["user_agent"] == "" {
			s |= noClient
		}
		if from := m.Fields["from"]; from != "" && strings.EqualFold(from, m.Fields["to"]) {
			s |= toOneself
		}
		example := m.Text
		if example == "" {
			example = files
		}
		return d.leftBehind(o, m, s, example, sink)
	}
	return nil
}

// command takes a command of FTP.
func (d *Detector) command(o *drop, m *sdk.Message, sink sdk.FindingSink) error {
	if m.Name != "command" || m.Code == "" || m.Code[0] != '2' {
		return nil
	}
	switch m.Text {
	case "PASS":
		o.clear = true
	case "LIST", "NLST", "MLSD", "RETR":
		o.looked = true
	case "STOR", "APPE", "STOU":
		p, err := d.pair(pairKey{o.key.src, o.key.dst}, m.Time.UnixNano(), sink)
		if err != nil {
			return err
		}
		p.files = true
		name := m.Fields["arg"]
		name = name[strings.LastIndexByte(name, '/')+1:]
		s := d.nameSigns(o, name)
		if !o.looked {
			s |= noClient
		}
		return d.leftBehind(o, m, s, name, sink)
	}
	return nil
}

// nameSigns are those of the name of a file or a mail.
func (d *Detector) nameSigns(o *drop, text string) (s sign) {
	own := ""
	if h, known := d.hosts.Get(o.key.src); known {
		own = h.name
	}
	if namesComputer(text, o.name) || namesComputer(text, own) || looksLikeComputer(text) {
		s |= computer
	}
	if saysSecrets(text) {
		s |= secrets
	}
	if digits(text) >= 8 {
		s |= stamped
	}
	return s
}

// leftBehind adds a mail or a file.
func (d *Detector) leftBehind(o *drop, m *sdk.Message, s sign, example string, sink sdk.FindingSink) error {
	if h, known := d.hosts.Get(o.key.src); known && h.mails && o.key.mail {
		return nil
	}
	if o.clear {
		s |= inClear
	}
	if o.sent++; o.sent >= few {
		s |= repeated
	}
	if s.points() > o.best.points() || o.example == "" {
		o.best, o.example = s, clipped(example)
	}
	o.Add(m.Time.UnixNano(), m.Packet, flowref.Ref{ID: m.Flow, SrcPort: m.ClientPort, DstPort: m.ServerPort})
	return d.judgeDrop(o, false, sink)
}

// judgeDrop reports what is left behind when there are signs enough, when there are more of them, and at the end.
func (d *Detector) judgeDrop(o *drop, final bool, sink sdk.FindingSink) error {
	if o.best&(computer|secrets) == 0 || o.best.points() < minPoints {
		return nil
	}
	if o.told == o.sent && o.toldSigns == o.best || o.told > 0 && !final && o.toldSigns == o.best && o.sent < 2*o.told {
		return nil
	}
	o.told, o.toldSigns = o.sent, o.best
	return sink.Finding(o.finding())
}

// namesComputer reports whether a text holds the name of a computer.
func namesComputer(text, name string) bool {
	return len(name) >= 4 && !strings.EqualFold(name, "localhost") && containsFold(text, name)
}

// Names that computers have when nobody gave them another one, and what follows on them.
var factory = [...]string{"DESKTOP-", "LAPTOP-", "WIN-"}

// looksLikeComputer reports whether a text holds the name of a computer with that of its user, or one that it has from the factory.
func looksLikeComputer(text string) bool {
	for _, begin := range factory {
		if i := strings.Index(text, begin); i >= 0 && capitals(text[i+len(begin):]) >= 6 {
			return true
		}
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '-' && strings.HasPrefix(text[i:], "-PC") && (len(text) == i+3 || !isWord(text[i+3])):
			return true
		case c != '/' && c != '\\' && c != '@' && c != '-' || !isWord(text[i-1]):
		case c == '-' && !lower(text[:i]) || media(text):
		default:
			if n := capitals(text[i+1:]); n >= 4 && n <= 15 && letters(text[i+1:i+1+n]) >= 3 && (i+1+n == len(text) || !isWord(text[i+1+n])) {
				return true
			}
		}
	}
	return false
}

// capitals is how many of the first characters are those of a computer's name.
func capitals(text string) (n int) {
	for n < len(text) && (text[n] >= 'A' && text[n] <= 'Z' || text[n] >= '0' && text[n] <= '9' || text[n] == '-') {
		n++
	}
	return n
}

func letters(text string) (n int) {
	for i := range len(text) {
		if text[i] >= 'A' && text[i] <= 'Z' {
			n++
		}
	}
	return n
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.'
}

// lower reports whether the last word of a text has small letters.
func lower(text string) bool {
	for i := len(text) - 1; i >= 0 && isWord(text[i]); i-- {
		if text[i] >= 'a' && text[i] <= 'z' {
			return true
		}
	}
	return false
}

// media reports whether a name is that of a picture or a film, as cameras store them.
func media(name string) bool {
	for _, ending := range [...]string{".jpg", ".jpeg", ".png", ".mp4", ".avi", ".mkv", ".gif"} {
		if len(name) > len(ending) && strings.EqualFold(name[len(name)-len(ending):], ending) {
			return true
		}
	}
	return false
}

// What programs that steal say of what they send.
var words = [...]string{"password", "passwd", "recovered", "keylog", "keystroke", "clipboard", "screenshot", "cookies", "credential", "stealer", "wallet", "stolen"}

func saysSecrets(text string) bool {
	for _, word := range words {
		if containsFold(text, word) {
			return true
		}
	}
	return false
}

func containsFold(text, part string) bool {
	for i := 0; i+len(part) <= len(text); i++ {
		if strings.EqualFold(text[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

func digits(text string) (n int) {
	for i := range len(text) {
		if text[i] >= '0' && text[i] <= '9' {
			n++
		}
	}
	return n
}
