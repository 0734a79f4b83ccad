package passive

import (
	_ "embed" // the table below
	"encoding/hex"
	"sort"
	"strings"
)

// makersFile lists who was given which first three bytes of hardware addresses: how many there are; for each, in order, a row of
// those bytes and of where its name begins; and the names, each in a line. Numbers have three bytes, the lowest first. It is read as
// it lies in the program, so that it takes neither time nor memory before a card is looked up. It is made from the IEEE's public
// listing (MA-L, as of 2022-08-27) by PICKET_UPDATE=1 go test -run TestMakers.
//
//go:embed makers.bin
var makersFile string

const (
	makerNumber = 3
	makerRow    = 2 * makerNumber
)

var (
	makerCount = number24(makersFile)
	makerRows  = makersFile[makerNumber:][:makerCount*makerRow]
	makerNames = makersFile[makerNumber+makerCount*makerRow:]
)

func number24(s string) int { return int(s[0]) | int(s[1])<<8 | int(s[2])<<16 }

// maker is who made the card with a hardware address. Addresses that a device made up itself have none.
func maker(mac string) string {
	const local = 2
	b, err := hex.DecodeString(strings.ReplaceAll(mac[:min(len(mac), 8)], ":", ""))
	if err != nil || len(b) != makerNumber || b[0]&local != 0 {
		return ""
	}
	prefix := string(b)
	at := makerRow * sort.Search(makerCount, func(i int) bool { return makerRows[i*makerRow:][:makerNumber] >= prefix })
	if at == len(makerRows) || makerRows[at:][:makerNumber] != prefix {
		return ""
	}
	name, _, _ := strings.Cut(makerNames[number24(makerRows[at+makerNumber:]):], "\n")
	return name
}
