package smb

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// head is a header of SMB 2.
func head(code uint16, response bool, id byte) []byte {
	b := make([]byte, header2)
	copy(b, "\xfeSMB\x40")
	binary.LittleEndian.PutUint16(b[12:], code)
	if response {
		b[16] = 1
	}
	b[24], b[36] = id, 7
	return b
}

// command is a message with a body and behind it a buffer, whose offset and length stand in the body.
func command(code uint16, id byte, body []byte, at int, buf []byte) []byte {
	if at > 0 {
		binary.LittleEndian.PutUint16(body[at:], uint16(header2+len(body)))
		binary.LittleEndian.PutUint16(body[at+2:], uint16(len(buf)))
	}
	return slices.Concat(head(code, false, id), body, buf)
}

func framed(messages ...[]byte) string {
	b := slices.Concat(messages...)
	return string([]byte{0, byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}) + string(b)
}

func wide(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

// set sets information of a class about a file.
func set(id, class byte, info []byte) []byte {
	body := make([]byte, 32)
	body[2], body[3] = 1, class
	binary.LittleEndian.PutUint32(body[4:], uint32(len(info)))
	binary.LittleEndian.PutUint16(body[8:], header2+32)
	return command(CodeSetInfo, id, body, 0, info)
}

func rename(id byte, name string) []byte {
	info := binary.LittleEndian.AppendUint32(make([]byte, 16), uint32(2*len(name)))
	b := set(id, 10, append(info, wide(name)...))
	binary.LittleEndian.PutUint32(b[20:], uint32(len(b)))
	return b
}

func setTimes(id byte) []byte { return set(id, 4, make([]byte, 40)) }

// answer puts the answer to a challenge, of some length, into a message of NTLM.
func answer(message []byte, size int) []byte {
	b := message[len("spnego"):]
	binary.LittleEndian.PutUint16(b[20:], uint16(size))
	binary.LittleEndian.PutUint32(b[24:], uint32(len(b)))
	return append(message, make([]byte, size)...)
}

func TestNTLMVersion(t *testing.T) {
	for size, want := range map[int]uint8{0: 0, 16: 0, 24: 1, 300: 2} {
		var got *Command
		message := answer(authenticate("CORP", "alice", "PC1"), size)
		apptest.Stream(SMB, 1<<20, func(f *app.Fact) { c := *f.Body.(*Command); got = &c },
			apptest.Client(framed(command(CodeSessionSetup, 1, make([]byte, 24), 12, message))))
		if got == nil || got.NTLM != want || got.User != "alice" || got.Anonymous != (size == 0) {
			t.Errorf("%d bytes: %+v, want version %d", size, got, want)
		}
	}
}

func authenticate(domain, user, host string) []byte {
	b := make([]byte, 64)
	copy(b, "NTLMSSP\x00\x03")
	b[60] = 1
	for i, s := range []string{domain, user, host} {
		at := 28 + 8*i
		binary.LittleEndian.PutUint16(b[at:], uint16(2*len(s)))
		binary.LittleEndian.PutUint32(b[at+4:], uint32(len(b)))
		b = append(b, wide(s)...)
	}
	return append([]byte("spnego"), b...)
}

func conversation() []apptest.Said {
	negotiate := append(make([]byte, 36), 0x02, 0x02, 0x11, 0x03)
	negotiate[2] = 2
	answer := append(head(CodeNegotiate, true, 0), 65, 0, 0, 0, 0x11, 0x03)
	answer[8] = 5
	first := command(CodeTreeConnect, 2, make([]byte, 8), 4, wide(`\\host\share`))
	binary.LittleEndian.PutUint32(first[20:], uint32(len(first)))
	write := append(head(9, false, 4), make([]byte, 40_000)...)
	return []apptest.Said{
		apptest.Client("\x81\x00\x00\x44" + strings.Repeat(" ", 68)), apptest.Server("\x82\x00\x00\x00"),
		apptest.Client(framed(slices.Concat(head(CodeNegotiate, false, 0), negotiate))), apptest.Server(framed(answer)),
		apptest.Client(framed(command(CodeSessionSetup, 1, make([]byte, 24), 12, authenticate("CORP", "alice", "PC1")))),
		apptest.Client(framed(first, command(CodeCreate, 3, make([]byte, 56), 44, wide(`a\b.txt`)))),
		apptest.Client(framed(write)), apptest.Client(framed(head(6, false, 5))), apptest.Client(framed(rename(6, "c.txt"), setTimes(7))),
		apptest.Server(framed(append([]byte("\xfdSMB"), make([]byte, 60)...))), apptest.Server(framed(append([]byte("\xffSMB\x72"), make([]byte, 60)...))),
	}
}

func line(m *Command) string {
	return fmt.Sprint(m.Version, " ", m.Code, " ", m.Response, " ", m.MessageID, " ", m.Status, " ", m.Dialect, m.Dialects, " ", m.Share, m.File, m.Domain, m.User, m.Host, m.Encrypted)
}

func TestConversation(t *testing.T) {
	want := []string{
		"2 0 false 0 0 0 [514 785] false", "2 0 true 0 5 785 [] false", "2 1 false 1 0 0 [] CORPalicePC1false", `2 3 false 2 0 0 [] \\host\sharefalse`,
		`2 5 false 3 0 0 [] a\b.txtfalse`, "2 9 false 4 0 0 [] false", "2 6 false 5 0 0 [] false", "2 17 false 6 0 0 [] c.txtfalse", "2 17 false 7 0 0 [] false", "2 0 false 0 0 0 [] true", "1 114 false 0 0 0 [] false",
	}
	for _, size := range []int{1, 100, 1 << 20} {
		var have []string
		next := apptest.Stream(SMB, size, func(f *app.Fact) { have = append(have, line(f.Body.(*Command))) }, conversation()...)
		if !slices.Equal(have, want) || next != app.Continue {
			t.Errorf("pieces of %d:\n%s\nwant\n%s", size, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestHostile(t *testing.T) {
	good := command(CodeCreate, 3, make([]byte, 56), 44, wide("name"))
	for n := range good {
		facts := 0
		apptest.Stream(SMB, 1000, func(*app.Fact) { facts++ }, apptest.Client(framed(good[:n])))
		if want := n >= header2; facts > 0 != want {
			t.Errorf("cut at %d: %d facts", n, facts)
		}
		bad := slices.Clone(good)
		bad[n] ^= 0xff
		apptest.Stream(SMB, 1000, func(*app.Fact) {}, apptest.Client(framed(bad)))
	}
	good = rename(1, "name")
	for n := range good {
		apptest.Stream(SMB, 1000, func(*app.Fact) {}, apptest.Client(framed(good[:n])))
		bad := slices.Clone(good)
		bad[n] ^= 0xff
		apptest.Stream(SMB, 1000, func(*app.Fact) {}, apptest.Client(framed(bad)))
	}
	good = command(CodeCreate, 3, make([]byte, 56), 44, wide("name"))
	for _, next := range []uint32{1, 48, 63, 1 << 31} {
		short := slices.Clone(good)
		binary.LittleEndian.PutUint32(short[20:], next)
		facts := 0
		apptest.Stream(SMB, 1000, func(*app.Fact) { facts++ }, apptest.Client(framed(short)))
		if facts != 1 {
			t.Errorf("the next command is at %d: %d facts", next, facts)
		}
	}
	loop := head(6, false, 1)
	binary.LittleEndian.PutUint32(loop[20:], header2)
	facts := 0
	apptest.Stream(SMB, 1<<20, func(*app.Fact) { facts++ }, apptest.Client(framed(slices.Repeat([][]byte{loop}, 200)...)))
	if facts != maxCompound {
		t.Errorf("%d commands of a message", facts)
	}
}

func TestMissingBytes(t *testing.T) {
	write := framed(append(head(9, false, 1), make([]byte, 40_000)...))
	next := framed(head(6, false, 2))
	for name, talk := range map[string][]apptest.Said{
		"in a file's content": {apptest.Client(write[:30_000]), {Text: write[35_000:] + next, Missing: 5000}},
		"anywhere":            {apptest.Client(write[:100]), {Text: "junk", Missing: 90_000}, apptest.Client(next)},
	} {
		var last string
		apptest.Stream(SMB, 1<<20, func(f *app.Fact) { last = line(f.Body.(*Command)) }, talk...)
		if !strings.HasPrefix(last, "2 6 false 2") {
			t.Errorf("%s: %s", name, last)
		}
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		framed(head(0, false, 0)): app.Sure, framed(head(0, false, 0))[:7]: app.More, "\x00\x00\x00\x40\xfeSMX": app.No,
		"\x00\x00\x00\x04\xfeSMB": app.No, "\x81\x00\x00\x44\x20CKFD": app.Likely,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d", text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{"benign-smb__zeek__smb3.pcap": 10, "benign-smb__elcabezzonn__normal_share_traversal.pcap.pcapng": 50, "benign-smb__zeek__smb2_100_small_files.pcap": 300} {
		t.Run(file, func(t *testing.T) {
			path := apptest.Shared(t, file)
			var have, want, haveNames, wantNames []string
			apptest.Run(t, path, []app.Protocol{SMB}, func(f *app.Fact) {
				m, ok := f.Body.(*Command)
				if !ok {
					return // a remote procedure call
				}
				if m.Version == 2 && !m.Encrypted {
					have = append(have, fmt.Sprint(f.Flow.Client.Port(), " ", m.Code, " ", m.Response, " ", m.MessageID))
				}
				if m.Version == 2 && m.Share != "" {
					haveNames = append(haveNames, m.Share)
				}
				if m.Version == 2 && m.User != "" {
					haveNames = append(haveNames, m.Domain+" "+m.User+" "+m.Host)
				}
			})
			for _, row := range apptest.Tshark(t, path, "smb2", "tcp.port", "smb2.cmd", "smb2.flags.response", "smb2.msg_id", "smb2.tree", "smb2.nt_status",
				"ntlmssp.auth.username", "ntlmssp.auth.domain", "ntlmssp.auth.hostname") {
				port := row[0][slices.IndexFunc(row[0], func(p string) bool { return p != "445" && p != "139" })]
				for i, cmd := range row[1] {
					want = append(want, fmt.Sprint(port, " ", cmd, " ", row[2][i] == "1" || row[2][i] == "True", " ", row[3][i]))
				}
				if len(row[2]) > 0 && row[1][0] == strconv.Itoa(CodeTreeConnect) && (row[2][0] == "0" || row[2][0] == "False") {
					wantNames = append(wantNames, row[4]...)
				}
				if len(row[6]) > 0 && row[6][0] != "NULL" {
					wantNames = append(wantNames, strings.ReplaceAll(row[7][0]+" "+row[6][0]+" "+row[8][0], "NULL", ""))
				}
			}
			for _, list := range [][]string{have, want, haveNames, wantNames} {
				slices.Sort(list)
			}
			if !slices.Equal(have, want) || len(want) < least {
				t.Errorf("%d commands, want %d", len(have), len(want))
			}
			if !slices.Equal(haveNames, wantNames) {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(haveNames, "\n"), strings.Join(wantNames, "\n"))
			}
			t.Log(len(want), "commands compared,", len(wantNames), "names")
		})
	}
}

func FuzzStream(f *testing.F) {
	talk := conversation()
	apptest.FuzzStream(f, SMB, slices.Concat(talk[:6], talk[7:], pipeTalk(), pipeTalk1()))
}

func TestRenamesAgreeWithTshark(t *testing.T) {
	const file, least = "../../../../examples/datasets/lab-1/ransom-smb.pcap.zst", 100
	var have, want []string
	apptest.Run(t, file, []app.Protocol{SMB}, func(f *app.Fact) {
		if m, ok := f.Body.(*Command); ok && m.Code == CodeSetInfo && m.File != "" {
			have = append(have, m.File)
		}
	})
	for _, row := range apptest.Tshark(t, file, "smb2.file_rename_info", "smb2.filename") {
		want = append(want, row[0]...)
	}
	if !slices.Equal(have, want) || len(want) < least {
		t.Errorf("%d renames, tshark has %d", len(have), len(want))
	}
}
