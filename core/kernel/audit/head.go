package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/core/kernel/store"
)

// FormatHead writes the end of a chain so that somebody can note it: number:hash.
func FormatHead(h store.AuditHead) string {
	return fmt.Sprintf("%d:%x", h.Seq, h.Hash)
}

// ParseHead reads what FormatHead wrote; "" is the end of an empty chain.
func ParseHead(text string) (store.AuditHead, error) {
	if text == "" {
		return store.AuditHead{}, nil
	}
	number, hash, ok := strings.Cut(text, ":")
	seq, err := strconv.ParseInt(number, 10, 64)
	raw, err2 := hex.DecodeString(hash)
	if !ok || err != nil || err2 != nil || seq < 0 || len(raw) != sha256.Size && seq > 0 {
		return store.AuditHead{}, errors.New("must be number:hash, as picket audit verify prints it")
	}
	return store.AuditHead{Seq: seq, Hash: raw}, nil
}
