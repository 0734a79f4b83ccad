package detect

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/sdk"
)

// FindingID names a finding by the content of its capture and by what was found in it. The same capture analysed
// again, by either runtime of the same detector, gives the same ids.
func FindingID(capture string, f sdk.Finding) string {
	h := sha256.New()
	for _, s := range []string{capture, f.Detector, f.Rule, f.Src, f.Dst} {
		writeString(h, s)
	}
	var times [16]byte
	binary.LittleEndian.PutUint64(times[:8], uint64(f.Start.UnixNano()))
	binary.LittleEndian.PutUint64(times[8:], uint64(f.End.UnixNano()))
	h.Write(times[:])
	// RFC 9562, version 8: an id of our own making, in the form everyone expects of an id.
	var id uuid.UUID
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// writeString writes the length first, so that no two different lists of strings give the same bytes.
func writeString(h hash.Hash, s string) {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(s)))
	h.Write(n[:])
	h.Write([]byte(s))
}
