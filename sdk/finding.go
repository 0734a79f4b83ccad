package sdk

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// FindingID derives the id of a finding from what was found: the same input gives the same id, whoever computes it. A
// detector that sets ID tells apart findings that have all the rest in common.
func FindingID(f Finding) string {
	h := sha256.New()
	for _, s := range []string{
		f.Detector, f.ID, f.Rule, f.Src, f.Dst, strconv.FormatInt(f.Start.UnixNano(), 10), strings.Join(f.Techniques, ","),
	} {
		// The length in front keeps "a" + "bc" apart from "ab" + "c".
		h.Write([]byte(strconv.Itoa(len(s)) + ":" + s))
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
