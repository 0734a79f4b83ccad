package passive

import (
	"bytes"
	"compress/gzip"
	_ "embed" // the table below
	"encoding/hex"
	"io"
	"sort"
	"strings"
	"sync"
)

// makersFile lists who was given which first three bytes of hardware addresses: lines of six hex digits and a name, in order. It
// is made from the IEEE's public listing (MA-L, as of 2022-08-27) by PICKET_UPDATE=1 go test -run TestMakers.
//
//go:embed makers.gz
var makersFile []byte

// makers are the lines of the table, read when the first one is looked up.
var makers = sync.OnceValue(func() []string {
	r, err := gzip.NewReader(bytes.NewReader(makersFile))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
})

// maker is who made the card with a hardware address. Addresses that a device made up itself have none.
func maker(mac string) string {
	const local, digits = 2, 6
	prefix := strings.ReplaceAll(mac[:min(len(mac), 8)], ":", "")
	if b, err := hex.DecodeString(prefix); err != nil || len(b) != digits/2 || b[0]&local != 0 {
		return ""
	}
	prefix = strings.ToUpper(prefix)
	list := makers()
	i := sort.SearchStrings(list, prefix)
	if i < len(list) && strings.HasPrefix(list[i], prefix) {
		return list[i][digits:]
	}
	return ""
}
