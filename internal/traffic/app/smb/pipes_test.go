package smb

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/dcerpc"
)

// rpc is a message of a remote procedure call with what follows its header.
func rpc(kind byte, rest ...byte) []byte {
	b := append([]byte{5, 0, kind, 3, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, rest...)
	binary.LittleEndian.PutUint16(b[8:], uint16(len(b)))
	return b
}

var (
	bindServices = rpc(dcerpc.Bind, slices.Concat(make([]byte, 8), []byte{1, 0, 0, 0}, []byte{0, 0, 1, 0},
		[]byte("\x81\xbb\x7a\x36\x44\x98\xf1\x35\xad\x32\x98\xf0\x38\x00\x10\x03\x02\x00\x00\x00"), make([]byte, 20))...)
	createService = rpc(dcerpc.Request, 0, 0, 0, 0, 0, 0, 12, 0, 'x')
	denied        = rpc(dcerpc.Fault, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0)
)

func file2(response bool, id byte) []byte {
	if !response {
		return command(CodeCreate, id, make([]byte, 56), 44, wide("svcctl"))
	}
	return slices.Concat(head(CodeCreate, true, id), make([]byte, 64), []byte("0123456789abcdef"), make([]byte, 8))
}

func write2(id byte, data []byte) []byte {
	in := make([]byte, 48)
	binary.LittleEndian.PutUint16(in[2:], header2+48)
	copy(in[16:], "0123456789abcdef")
	return slices.Concat(head(codeWrite, false, id), in, data)
}

func control2(response bool, id byte, data []byte) []byte {
	in := make([]byte, 56)
	binary.LittleEndian.PutUint32(in[4:], transceive)
	copy(in[8:], "0123456789abcdef")
	at := 24
	if response {
		at = 32
	}
	binary.LittleEndian.PutUint32(in[at:], header2+56)
	return slices.Concat(head(codeControl, response, id), in, data)
}

func read2(id byte, data []byte) []byte {
	return slices.Concat(head(codeRead, true, id), []byte{17, 0, header2 + 16, 0}, make([]byte, 12), data)
}

// command1 is a message of SMB 1.
func command1(code byte, response bool, id uint16, words []byte, data []byte) []byte {
	b := make([]byte, header1)
	copy(b, "\xffSMB")
	b[4] = code
	if response {
		b[flagsAt] = response1
	}
	binary.LittleEndian.PutUint16(b[30:], id)
	b = append(append(b, byte(len(words)/2)), words...)
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(data))), data...)
}

func pipeTalk() []apptest.Said {
	return []apptest.Said{
		apptest.Client(framed(file2(false, 1))), apptest.Server(framed(file2(true, 1))), apptest.Client(framed(write2(2, bindServices))),
		apptest.Client(framed(control2(false, 3, createService))), apptest.Server(framed(control2(true, 3, denied))), apptest.Server(framed(read2(4, denied))),
		apptest.Client(framed(write2(5, []byte("of a file")))),
	}
}

func pipeTalk1() []apptest.Said {
	words := func(n int, set map[int]uint16) []byte {
		b := make([]byte, 2*n)
		for at, v := range set {
			binary.LittleEndian.PutUint16(b[at:], v)
		}
		b[0] = lastOfChain
		return b
	}
	return []apptest.Said{
		apptest.Client(framed(command1(Code1Create, false, 1, words(24, nil), []byte("\\svcctl\x00")))),
		apptest.Server(framed(command1(Code1Create, true, 1, words(34, map[int]uint16{5: 0x4001}), nil))),
		apptest.Client(framed(command1(code1Write, false, 2, words(14, map[int]uint16{4: 0x4001, 22: header1 + 31}), bindServices))),
		apptest.Client(framed(command1(code1Transaction, false, 3, words(16, map[int]uint16{24: header1 + 35, 28: transact1, 30: 0x4001}), createService))),
		apptest.Server(framed(command1(code1Transaction, true, 3, words(10, map[int]uint16{14: header1 + 23}), denied))),
	}
}

func TestCallsInPipes(t *testing.T) {
	want := []string{
		"{Type:11 Interface:367abb81-9844-35f1-ad32-98f038001003 Operation:0 Pipe:svcctl Auth:0 Level:0 Status:0}",
		"{Type:0 Interface:367abb81-9844-35f1-ad32-98f038001003 Operation:12 Pipe:svcctl Auth:0 Level:0 Status:0}",
		"{Type:3 Interface:367abb81-9844-35f1-ad32-98f038001003 Operation:12 Pipe:svcctl Auth:0 Level:0 Status:5}",
	}
	for name, test := range map[string]struct {
		talk []apptest.Said
		want []string
	}{"SMB 2": {pipeTalk(), append(want, want[2])}, "SMB 1": {pipeTalk1(), want}} {
		for _, size := range []int{1, 1 << 20} {
			var have []string
			apptest.Stream(SMB, size, func(f *app.Fact) {
				if m, ok := f.Body.(*dcerpc.Message); ok {
					have = append(have, strings.ReplaceAll(fmt.Sprintf("%+v", *m), `\`, ""))
				}
			}, test.talk...)
			if !slices.Equal(have, test.want) {
				t.Errorf("%s, pieces of %d:\n%s", name, size, strings.Join(have, "\n"))
			}
		}
	}
}

// More files and more pipes than are remembered cost the oldest ones.
func TestManyPipes(t *testing.T) {
	facts := 0
	var talk []apptest.Said
	for i := range byte(100) {
		open, answer, write := file2(false, i), file2(true, i), write2(i, bindServices)
		answer[header2+64], write[header2+16] = i, i
		talk = append(talk, apptest.Client(framed(open)), apptest.Server(framed(answer)), apptest.Client(framed(write)))
	}
	apptest.Stream(SMB, 1<<20, func(f *app.Fact) {
		if m, ok := f.Body.(*dcerpc.Message); ok && m.Pipe == "svcctl" {
			facts++
		}
	}, talk...)
	if facts != 100 {
		t.Errorf("%d binds", facts)
	}
}

func TestHostilePipes(t *testing.T) {
	for _, talk := range [][]apptest.Said{pipeTalk(), pipeTalk1()} {
		for i, said := range talk {
			for n := 4; n < len(said.Text); n++ {
				for _, change := range []byte{0x01, 0xff} {
					bad := []byte(said.Text)
					bad[n] ^= change
					changed := slices.Clone(talk)
					changed[i].Text = string(bad)
					apptest.Stream(SMB, 1<<20, func(*app.Fact) {}, changed...)
				}
			}
		}
	}
}

func TestCallsAgreeWithTshark(t *testing.T) {
	path := apptest.Shared(t, "benign-smb__elcabezzonn__normal_share_traversal.pcap.pcapng")
	var have, want []string
	apptest.Run(t, path, []app.Protocol{SMB}, func(f *app.Fact) {
		m, ok := f.Body.(*dcerpc.Message)
		switch {
		case !ok:
		case m.Type == dcerpc.Request:
			have = append(have, fmt.Sprintf("%d call %d", f.Flow.Client.Port(), m.Operation))
		case m.Type == dcerpc.Bind:
			have = append(have, fmt.Sprintf("%d bind %s", f.Flow.Client.Port(), m.Interface))
		}
	})
	for _, row := range apptest.Tshark(t, path, "dcerpc && smb2 && (dcerpc.pkt_type == 0 || dcerpc.pkt_type == 11)", "tcp.srcport", "dcerpc.cn_bind_to_uuid", "dcerpc.opnum") {
		for _, uuid := range row[1] {
			want = append(want, row[0][0]+" bind "+uuid)
		}
		for _, operation := range row[2] {
			want = append(want, row[0][0]+" call "+operation)
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(have, want) || len(want) < 4 {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// A handle that was given to another file means that one from then on.
func TestAHandleIsGivenAgain(t *testing.T) {
	again := pipeTalk()[:3]
	first := []apptest.Said{
		apptest.Client(framed(command(CodeCreate, 7, make([]byte, 56), 44, wide("spools")))), apptest.Server(framed(file2(true, 7))),
		apptest.Client(framed(write2(8, bindServices))),
	}
	var have []string
	apptest.Stream(SMB, 1<<20, func(f *app.Fact) {
		if m, ok := f.Body.(*dcerpc.Message); ok {
			have = append(have, m.Pipe)
		}
	}, append(first, again...)...)
	if want := []string{"spools", "svcctl"}; !slices.Equal(have, want) {
		t.Errorf("bound to in the pipes %v, want %v", have, want)
	}
}
