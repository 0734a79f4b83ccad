package smb

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// message1 is a message of SMB 1 with its first command.
func message1(code byte, response, wide bool, block []byte) []byte {
	b := make([]byte, header1)
	copy(b, "\xffSMB")
	b[4] = code
	if response {
		b[flagsAt] = response1
	}
	if wide {
		b[flags2At+1] = wideText >> 8
	}
	b[24], b[30] = 7, 9
	return append(b, block...)
}

// words are parameters, behind their count and before the bytes.
func words(parameters, data []byte) []byte {
	out := append([]byte{byte(len(parameters) / 2)}, parameters...)
	return append(binary.LittleEndian.AppendUint16(out, uint16(len(data))), data...)
}

// setup is a session setup in the old form, with another command behind it.
func setup(next byte, after []byte) []byte {
	p := make([]byte, 26)
	p[0], p[14], p[16] = next, 2, 3
	data := slices.Concat([]byte("pwpwd"), []byte("alice\x00CORP\x00Windows\x00"))
	block := words(p, data)
	binary.LittleEndian.PutUint16(block[3:], uint16(header1+len(block)))
	return append(block, after...)
}

func connect(path string) []byte {
	p := make([]byte, 8)
	p[0], p[6] = lastOfChain, 1
	return words(p, append([]byte{0}, path...))
}

func create(name []byte) []byte {
	p := make([]byte, 48)
	p[0], p[15] = lastOfChain, 0x80
	return words(p, append([]byte{0}, name...)) // aligned
}

// challenge is a server's message of NTLM.
func challenge(pairs ...string) []byte {
	b := make([]byte, 48)
	copy(b, ntlmMark+"\x02")
	var info []byte
	for i := 0; i < len(pairs); i += 2 {
		kind, _ := strconv.Atoi(pairs[i])
		info = binary.LittleEndian.AppendUint16(info, uint16(kind))
		info = binary.LittleEndian.AppendUint16(info, uint16(2*len(pairs[i+1])))
		info = append(info, wide(pairs[i+1])...)
	}
	binary.LittleEndian.PutUint16(b[40:], uint16(len(info)))
	binary.LittleEndian.PutUint32(b[44:], 48)
	return append(b, info...)
}

func conversation1() []apptest.Said {
	blob := authenticate("CORP", "bob", "PC2")
	asked := make([]byte, 24)
	asked[0], asked[14] = lastOfChain, byte(len(blob))
	answer := challenge("2", "CORP", "1", "SRV", "3", "srv.corp.example", "4", "corp.example")
	answered := make([]byte, 8)
	answered[0], answered[6] = lastOfChain, byte(len(answer))
	return []apptest.Said{
		apptest.Client(framed(message1(Code1Negotiate, false, false, words(nil, []byte("\x02NT LM 0.12\x00"))))),
		apptest.Client(framed(message1(Code1SessionSetup, false, false, setup(Code1TreeConnect, connect("\\\\srv\\c$\x00?????\x00"))))),
		apptest.Client(framed(message1(Code1SessionSetup, false, true, words(asked, blob)))),
		apptest.Server(framed(message1(Code1SessionSetup, true, true, words(answered, answer)))),
		apptest.Client(framed(message1(Code1Create, false, true, create(wide("a\\é.txt"))))),
		apptest.Client(framed(message1(0x04, false, false, nil))),
	}
}

func TestConversation1(t *testing.T) {
	want := []string{
		"1 114 false 9 0 0 [] false", "1 115 false 9 0 0 [] CORPalicefalse", `1 117 false 9 0 0 [] \\srv\c$false`, "1 115 false 9 0 0 [] CORPbobPC2false",
		"1 115 true 9 0 0 [] corp.examplesrv.corp.examplefalse", `1 162 false 9 0 0 [] a\é.txtfalse`, "1 4 false 9 0 0 [] false",
	}
	for _, size := range []int{1, 100, 1 << 20} {
		var have []string
		apptest.Stream(SMB, size, func(f *app.Fact) { have = append(have, line(f.Body.(*Command))) }, conversation1()...)
		if !slices.Equal(have, want) {
			t.Errorf("pieces of %d:\n%s\nwant\n%s", size, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestHostile1(t *testing.T) {
	for _, said := range conversation1() {
		whole := []byte(said.Text)[frameHeader:]
		for n := range whole {
			facts := 0
			bad := slices.Clone(whole)
			bad[n] ^= 0xff
			for _, b := range [][]byte{whole[:n], bad} {
				apptest.Stream(SMB, 1000, func(*app.Fact) { facts++ }, apptest.Said{Dir: said.Dir, Text: framed(b)})
			}
			if facts > 2*maxChain {
				t.Errorf("at %d: %d facts", n, facts)
			}
		}
	}
	p := make([]byte, 26)
	p[0], p[2] = Code1SessionSetup, header1 // the next command is this one
	facts := 0
	apptest.Stream(SMB, 1000, func(*app.Fact) { facts++ }, apptest.Client(framed(message1(Code1SessionSetup, false, false, words(p, nil)))))
	if facts != 1 {
		t.Errorf("a command that follows itself: %d facts", facts)
	}
}

func TestAgreesWithTshark1(t *testing.T) {
	for file, least := range map[string]int{"ot-modbus__antoinelemay__CnC_uploading_exe_modbus_6RTU_with_operate.pcap": 12, "benign-smb__elcabezzonn__normal_share_traversal.pcap.pcapng": 10} {
		path := apptest.Shared(t, file)
		var have, want []string
		apptest.Run(t, path, []app.Protocol{SMB}, func(f *app.Fact) {
			if m := f.Body.(*Command); m.Version == 1 {
				have = append(have, fmt.Sprintf("%d %#02x %v %s", f.Flow.Packet, m.Code, m.Response, m.Share))
			}
		})
		for _, row := range apptest.Tshark(t, path, "smb && tcp", "frame.number", "smb.cmd", "smb.flags.response", "smb.path") {
			share := ""
			response := row[2][0] == "1" || row[2][0] == "True"
			if row[1][0] == "0x75" && !response {
				share = strings.Join(row[3], "")
			}
			want = append(want, fmt.Sprintf("%s %s %v %s", row[0][0], row[1][0], response, share))
		}
		if !slices.Equal(have, want) || len(want) < least {
			t.Errorf("%s: have\n%s\nwant\n%s", file, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
		t.Log(len(want), "commands compared")
	}
}

func FuzzStream1(f *testing.F) { apptest.FuzzStream(f, SMB, conversation1()) }
