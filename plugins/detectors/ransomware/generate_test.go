package ransomware

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
)

// The captures of the cases are made here, so that a case can be read in its source.
func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){
		"renamed": renamed, "copied": copied, "overwritten": overwritten, "canary": touched, "quiet-work": quietWork, "quiet-batches": quietBatches,
	})
}

func host(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

// session is a connection of SMB 2.
type session struct {
	said []talk.Said
	id   byte
}

func (s *session) message(code uint16, response bool, body []byte, text string) string {
	b := make([]byte, 64)
	copy(b, "\xfeSMB\x40")
	binary.LittleEndian.PutUint16(b[12:], code)
	if response {
		b[16] = 1
	}
	b[24], b[36] = s.id, 1
	b = append(append(b, body...), text...)
	return string([]byte{0, byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}) + string(b)
}

func (s *session) ask(code uint16, body []byte, text string, answer int) {
	s.id++
	s.said = append(s.said, talk.Client(s.message(code, false, body, text)), talk.Server(s.message(code, true, make([]byte, answer), "")))
}

func wide(text string) string {
	var out []byte
	for _, u := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return string(out)
}

func (s *session) open(file string, access uint32) {
	body := make([]byte, 56)
	binary.LittleEndian.PutUint32(body[24:], access)
	binary.LittleEndian.PutUint16(body[44:], 64+56)
	binary.LittleEndian.PutUint16(body[46:], uint16(2*len(file)))
	s.ask(5, body, wide(file), 88)
}

func (s *session) close()          { s.ask(6, make([]byte, 24), "", 60) }
func (s *session) get()            { s.ask(8, make([]byte, 49), "", 80) }
func (s *session) put(text string) { s.ask(9, make([]byte, 48), text, 16) }
func (s *session) set(class byte, info string) {
	body := make([]byte, 32)
	body[2], body[3] = 1, class
	binary.LittleEndian.PutUint32(body[4:], uint32(len(info)))
	binary.LittleEndian.PutUint16(body[8:], 64+32)
	s.ask(17, body, info, 2)
}

// What Windows asks for.
const (
	toRead   = 0x120089
	toWrite  = 0x120196
	toChange = 0x12019f
	toRename = 0x110080
)

func (s *session) read(file string) {
	s.open(file, toRead)
	s.get()
	s.close()
}

func (s *session) write(file string) {
	s.open(file, toWrite)
	s.put("contents")
	s.close()
}

func (s *session) change(file string) {
	s.open(file, toChange)
	s.get()
	s.put("contents")
	s.close()
}

func (s *session) rename(file, into string) {
	s.open(file, toRename)
	s.set(10, strings.Repeat("\x00", 16)+string([]byte{byte(2 * len(into)), 0, 0, 0})+wide(into))
	s.close()
}

func (s *session) remove(file string) {
	s.open(file, toRename)
	s.set(13, "\x01")
	s.close()
}

var kinds = []string{"docx", "xlsx", "pdf", "jpg", "pptx", "txt", "dwg", "zip"}

func document(i int) string { return fmt.Sprintf(`Team%d\Report %d.%s`, i%5, i, kinds[i%len(kinds)]) }

// on writes a session down.
func on(w *talk.Wire, at time.Duration, client byte, do func(s *session)) {
	s := &session{}
	do(s)
	w.TCP(at, host(client), host(20), 445, s.said...)
}

// renamed changes files where they lie and renames them, and leaves a note in each folder.
func renamed(w *talk.Wire) {
	on(w, 0, 66, func(s *session) {
		for i := range 60 {
			s.change(document(i))
			s.rename(document(i), document(i)+".qx7k2")
			if i < 5 {
				s.write(fmt.Sprintf(`Team%d\!READ ME.txt`, i))
			}
		}
	})
}

// copied writes a new file for each and deletes the old one.
func copied(w *talk.Wire) {
	on(w, 0, 66, func(s *session) {
		for i := range 40 {
			s.read(document(i))
			s.write(document(i) + ".lockbit")
			s.remove(document(i))
		}
		s.write(`HOW_TO_DECRYPT.hta`)
	})
}

// overwritten keeps the names.
func overwritten(w *talk.Wire) {
	on(w, 0, 66, func(s *session) {
		for i := range 90 {
			s.change(document(i))
		}
	})
}

// touched is a canary that is changed, and one that is looked at.
func touched(w *talk.Wire) {
	on(w, 0, 66, func(s *session) { s.change(`Team1\_000 accounts.xlsx`) })
	on(w, time.Minute, 7, func(s *session) { s.read(`Team1\_000 accounts.xlsx`) })
}

// quietWork are people and their programs.
func quietWork(w *talk.Wire) {
	// Office writes a new file, moves the old one away, and renames the new one.
	on(w, 0, 7, func(s *session) {
		for i := range 40 {
			s.read(document(i))
			s.write(fmt.Sprintf(`Team%d\~WRD%04d.tmp`, i%5, i))
			s.rename(document(i), fmt.Sprintf(`Team%d\~WRL%04d.tmp`, i%5, i))
			s.rename(fmt.Sprintf(`Team%d\~WRD%04d.tmp`, i%5, i), document(i))
			s.remove(fmt.Sprintf(`Team%d\~WRL%04d.tmp`, i%5, i))
		}
	})
	// A photographer gives names, and changes what stands in pictures.
	on(w, time.Second, 8, func(s *session) {
		for i := range 80 {
			s.rename(fmt.Sprintf(`DCIM\IMG_%d.JPG`, i), fmt.Sprintf(`DCIM\Trip %d.JPG`, i))
			s.change(fmt.Sprintf(`DCIM\Trip %d.JPG`, i))
		}
	})
	// A scan for viruses.
	on(w, 2*time.Second, 9, func(s *session) {
		for i := range 150 {
			s.read(document(i))
		}
	})
}

// quietBatches are programs that write much.
func quietBatches(w *talk.Wire) {
	// Archives are unpacked; each folder has a README.
	on(w, 0, 7, func(s *session) {
		for i := range 80 {
			s.write(document(i))
			s.write(fmt.Sprintf(`Team%d\README.txt`, i%5))
		}
	})
	// A build.
	on(w, time.Second, 8, func(s *session) {
		for i := range 60 {
			s.read(fmt.Sprintf(`src\a%d.c`, i))
			s.write(fmt.Sprintf(`src\a%d.o`, i))
			s.write(fmt.Sprintf(`src\a%d.d`, i))
		}
	})
	// Synchronisation, by files that have another name as long as they are not whole; and gzip -r.
	on(w, 2*time.Second, 9, func(s *session) {
		for i := range 60 {
			s.write(document(i) + ".syncing")
			s.rename(document(i)+".syncing", document(i))
			s.read(document(i))
			s.write(document(i) + ".gz")
			s.remove(document(i))
		}
	})
	// Copies in another format beside what they were made of, and names that are changed without the contents.
	on(w, 3*time.Second, 10, func(s *session) {
		for i := range 60 {
			s.read(document(i))
			s.write(document(i) + ".preview")
		}
	})
	on(w, 4*time.Second, 11, func(s *session) {
		for i := range 60 {
			s.rename(document(i), document(i)+".archived")
		}
	})
}
