package saved

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A list unpacks to so many times its size at most, and to a little more: a small state must not fill the memory. What
// detectors wrote down shrank to a twentieth or so.
const (
	maxRatio = 200
	slack    = 1 << 20
)

// The forms of the states of portscan and beacon before they were packed. Version 3 was a compressed list of JSON values, the head
// and then one record after the other; version 2 was the same with other records; version 1 was one object.
const (
	listVersion  = 3
	textVersion  = 2
	firstVersion = 1
)

// Head is what these states began with.
type Head struct {
	Version   int    `json:"version"`
	Clock     int64  `json:"clock"`
	Swept     int64  `json:"swept"`
	Next      uint64 `json:"next"`
	Forgotten uint64 `json:"forgotten"`
	Count     int    `json:"count"` // of the records, of a list
}

func (h Head) otherVersion() error {
	return fmt.Errorf("version %d of a state, expected one from %d to %d, or a later form", h.Version, firstVersion, listVersion)
}

// Earlier reads a state of before there were packed ones, and gives each of its records to take. In an object they have a name.
func Earlier[R any](state []byte, name string, take func(*R) error) (Head, error) {
	if isList(state) {
		return earlierList(state, take)
	}
	return earlierObject(state, name, take)
}

func earlierObject[R any](state []byte, name string, take func(*R) error) (head Head, err error) {
	if err := json.Unmarshal(state, &head); err != nil {
		return head, err
	}
	if head.Version != firstVersion {
		return head, head.otherVersion()
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(state, &fields); err != nil {
		return head, err
	}
	var records []R
	if list, found := fields[name]; found {
		if err := json.Unmarshal(list, &records); err != nil {
			return head, err
		}
	}
	for i := range records {
		if err := take(&records[i]); err != nil {
			return head, err
		}
	}
	return head, nil
}

func earlierList[R any](state []byte, take func(*R) error) (head Head, err error) {
	list, err := newList(state)
	if err != nil {
		return head, err
	}
	if err := list.next(&head); err != nil {
		return head, err
	}
	if head.Version != listVersion && head.Version != textVersion {
		return head, head.otherVersion()
	}
	for range head.Count {
		var one R
		if err := list.next(&one); err != nil {
			return head, err
		}
		if err := take(&one); err != nil {
			return head, err
		}
	}
	return head, list.end()
}

// list is a compressed list of JSON values.
type list struct {
	unpack *gzip.Reader
	dec    *json.Decoder
}

// isList reports whether a state begins like a list. States before there were lists begin with a brace.
func isList(state []byte) bool { return bytes.HasPrefix(state, []byte{0x1f, 0x8b}) }

// newList reads a list from its beginning.
func newList(state []byte) (*list, error) {
	z, err := gzip.NewReader(bytes.NewReader(state))
	if err != nil {
		return nil, err
	}
	return &list{unpack: z, dec: json.NewDecoder(io.LimitReader(z, int64(len(state))*maxRatio+slack))}, nil
}

// next reads one value into v, which must be empty.
func (l *list) next(v any) error {
	err := l.dec.Decode(v)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// end reports whether the list ends here, as it was written.
func (l *list) end() error {
	if _, err := l.dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the list does not end where it should: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	return l.unpack.Close()
}
