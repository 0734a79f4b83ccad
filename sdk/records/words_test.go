package records

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// What many rows say lies in the frame once, and each row has it.
func TestRowsShareWords(t *testing.T) {
	w := NewFactWriter[sdk.DNS]()
	random := rand.New(rand.NewPCG(3, 4))
	var want []sdk.DNS
	const letters = "abcdefgh"
	for range BatchFacts {
		one := sdk.DNS{Protocol: "dns", Query: letters[:1+random.IntN(len(letters))]}
		for n := range random.IntN(6) {
			one.Answers = append(one.Answers, strings.Repeat(letters[n:n+1], random.IntN(2*maxWord)))
			one.AnswerNames = append(one.AnswerNames, "a long name that is asked for and answered.example")
		}
		want = append(want, one)
		w.Add(&one)
	}
	frame := w.Sealed()
	if n := strings.Count(string(frame), "asked for and answered"); n > 8 { // one that another word took the place of is written again
		t.Errorf("a word is written %d times", n)
	}
	got, err := DecodeFacts[sdk.DNS](frame, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "dns", got, want)
	again := NewFactWriter[sdk.DNS]()
	for i := range got {
		again.Add(&got[i])
	}
	if string(again.Sealed()) != string(frame) {
		t.Error("the same facts give another frame")
	}
}

// Texts in the place of a map give the frame that the map gives.
func TestAddWith(t *testing.T) {
	with, plain := NewFactWriter[sdk.Message](), NewFactWriter[sdk.Message]()
	for i := range 2 * BatchFacts {
		m := sdk.Message{Protocol: "x", Fields: map[string]string{}}
		var texts []Text
		for n := range i % 5 {
			texts = append(texts, Text{fmt.Sprint("key", n), fmt.Sprint(i)})
			m.Fields[texts[n].Key] = texts[n].Value
		}
		plain.Add(&m)
		m.Fields = nil
		with.AddWith(&m, texts)
		if with.Full() != plain.Full() {
			t.Fatal("they are not full at the same time")
		}
		if with.Full() && string(with.Frame()) != string(plain.Frame()) {
			t.Fatal("they give other frames")
		}
	}
}

// However often words are shared, a reader takes the frame: all texts together stay below the largest one.
func TestSharedWordsAreBounded(t *testing.T) {
	w := NewFactWriter[sdk.HTTP]()
	heads := make([]string, 1<<14)
	for i := range heads {
		heads[i] = strings.Repeat("w", maxWord)
	}
	rows := 0
	for !w.Full() {
		w.Add(&sdk.HTTP{RequestHeaders: heads})
		rows++
	}
	got, err := DecodeFacts[sdk.HTTP](w.Sealed(), nil)
	if err != nil || len(got) != rows || len(got[rows-1].RequestHeaders) != len(heads) {
		t.Errorf("%d of %d rows: %v", len(got), rows, err)
	}
	w.Add(&sdk.HTTP{Host: "next"})
	if w.Full() {
		t.Error("the next frame is full as it begins")
	}
}

// A reader that takes texts as they lie in the frame finds the same ones as one that copies them.
func TestReadersOfWordsAgree(t *testing.T) {
	w := NewFactWriter[sdk.ARP]()
	for i := range 100 {
		w.Add(&sdk.ARP{Protocol: "arp", Operation: "reply", SenderMAC: fmt.Sprint(i % 7), TargetMAC: strings.Repeat("x", i)})
	}
	frame := w.Sealed()
	copied := BatchDecoder{}
	lent := BatchDecoder{Brief: true}
	a, errA := copied.Decode(frame)
	b, errB := lent.Decode(frame)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	same(t, "arp", b.ARP, a.ARP)
}

// All readers refuse the same frames: words that were read before are counted with texts that are read for the first time.
func TestReadersCountTextsAlike(t *testing.T) {
	const length, query, answers = 1 << 12, headerSize + 80, headerSize + 88
	for more, refused := range map[string]bool{"": false, "x": true} {
		list := make([]string, MaxFrame/length-1) // with the query they are as long as a frame
		frame := AppendLocalFacts(nil, []sdk.DNS{{Query: strings.Repeat("w", length), Answers: list}, {Query: more}})
		heap := frame[headerSize+2*codecOf[sdk.DNS]().layout.rowSize:]
		at := heap[binary.LittleEndian.Uint32(frame[answers:]):]
		for i := range list {
			copy(at[i*refSize:], frame[query:query+refSize])
		}
		for name, d := range map[string]BatchDecoder{"copies": {}, "brief": {Brief: true}, "borrows": {Borrow: true}} {
			if _, err := d.Decode(frame); (err != nil) != refused {
				t.Errorf("%d bytes too many, a reader that %s: %v", len(more), name, err)
			}
		}
	}
}
