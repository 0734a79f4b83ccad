package main

import (
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// sharing returns small frames that a reader must not take: their rows and lists share one text, and with all of them written
// out they would be longer than the largest frame.
func sharing() map[string]frame {
	const headSize, refSize = 72, 8
	long := func(n int) string { return strings.Repeat("x", n) }
	out := map[string]frame{}
	refuse := func(name, schema string, b []byte) {
		const why = "the texts together are longer than the largest frame"
		out["refused-shared-"+name] = frame{vector{Schema: schema, Refused: why, Rows: []map[string]any{}}, seal(b)}
	}

	const hosts, texts = 200, 5 // the texts of a row of ARP follow its head, an address among them
	addresses := make([]sdk.ARP, hosts)
	addresses[0].Protocol = long(records.MaxFrame/hosts/texts + 1)
	b := records.AppendFacts(nil, addresses)
	for row := headerSize; row < int(get(b, heapAt)); row += int(get(b, rowSizeAt)) {
		for _, at := range []int{0, 8, 16, 24, 48} {
			copy(b[row+headSize+at:], b[headerSize+headSize:][:refSize])
		}
	}
	refuse("text", "arp", b)

	const answers = 1500
	b = records.AppendFacts(nil, []sdk.DNS{{Query: long(records.MaxFrame/answers + 1), Answers: make([]string, answers)}})
	shareTexts(b, headerSize+80, headerSize+88, answers)
	refuse("texts", "dns", b)

	fields := map[string]string{}
	for i := range answers {
		fields[strconv.Itoa(i)] = ""
	}
	b = records.AppendFacts(nil, []sdk.Message{{Text: long(records.MaxFrame/answers/2 + 1), Fields: fields}})
	shareTexts(b, headerSize+96, headerSize+104, 2*answers)
	refuse("map", "message", b)
	return out
}

// shareTexts makes all texts of the list at a place in the first row the one at another.
func shareTexts(b []byte, text, list, n int) {
	const refSize = 8
	at := int(get(b, heapAt)) + int(get(b, list))
	for i := range n {
		copy(b[at+i*refSize:], b[text:text+refSize])
	}
}
