// Package capture reads packets from capture files as a stream.
//
// In goes any io.Reader over a pcap file (micro- or nanoseconds or Kuznetzov's, either byte order) or a pcapng file
// (several sections, each in its byte order, and interfaces, each with its time unit), plain or compressed with gzip or
// zstd; it is never sought, so a pipe will do. Out come packets one by one, in the order of the file, in bounded memory: a
// packet's bytes lie in the reader's own buffer until the next call. Names, keys and drop counters that a pcapng file
// holds come out as Notes.
//
// Every length is checked before it is believed. A file that ends or breaks in the middle gives all packets up to
// that point and then a *DamagedError that says where.
package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxPacket is the longest packet that is believed, the limit of libpcap and Wireshark. A longer one means that the
// file is damaged, and reading on would take noise for packets.
const MaxPacket = 256 << 10

// ErrEmpty says that the input has no bytes at all.
var ErrEmpty = errors.New("empty file: it has no bytes, expected a pcap or pcapng capture")

// LinkType is the link-layer header type of a packet, as registered by tcpdump.org.
type LinkType uint16

// The link types that the decoder knows.
const (
	LinkNull      LinkType = 0 // BSD loopback, address family in the byte order of the capturing host
	LinkEthernet  LinkType = 1
	LinkPPP       LinkType = 9
	LinkRawBSD    LinkType = 12 // raw IP as some systems number it
	LinkRawBSD14  LinkType = 14
	LinkPPPSerial LinkType = 50 // PPP or Cisco HDLC
	LinkPPPoE     LinkType = 51
	LinkRaw       LinkType = 101
	LinkCHDLC     LinkType = 104
	Link80211     LinkType = 105
	LinkLoop      LinkType = 108 // OpenBSD loopback, address family in network order
	LinkSLL       LinkType = 113
	LinkRadiotap  LinkType = 127 // 802.11 with the radio's measurements
	LinkPPI       LinkType = 192 // any link type with measurements, mostly 802.11
	LinkIPv4      LinkType = 228
	LinkIPv6      LinkType = 229
	LinkSLL2      LinkType = 276
)

// Packet is one captured packet.
type Packet struct {
	Number uint64 // in the file, from 1
	Time   int64  // nanoseconds since 1970 UTC
	Link   LinkType
	Length uint32 // on the wire; Data may hold less
	Data   []byte // valid until the next call of Next
}

// NotCaptureError says that the input is something else.
type NotCaptureError struct {
	Start []byte // its first bytes
}

func (e *NotCaptureError) Error() string {
	return fmt.Sprintf("not a capture (starts with %q); expected pcap or pcapng, plain or compressed with gzip or zstd", e.Start)
}

// DamagedError says that the file ended or broke after some good packets, which were all delivered.
type DamagedError struct {
	After     uint64 // number of the last good packet
	Truncated bool   // the file ends in the middle of a record
	Reason    string
}

func (e *DamagedError) Error() string {
	what := "damaged"
	if e.Truncated {
		what = "truncated"
	}
	return fmt.Sprintf("%s after packet %d: %s", what, e.After, e.Reason)
}

// format is one file format: it fills in the next packet and returns io.EOF at a clean end.
type format interface {
	next(p *Packet) error
	notes() Notes
}

// Reader gives the packets of one capture.
type Reader struct {
	format  format
	packets uint64
	err     error // sticky
}

// Open recognises the format by its first bytes.
func Open(r io.Reader) (*Reader, error) { return open(r, ordinary) }

func open(r io.Reader, most limits) (*Reader, error) {
	w := newWindow(r)
	start, err := w.peek(4)
	if len(start) == 0 && errors.Is(err, io.EOF) {
		return nil, ErrEmpty
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	if plain, ok, err := decompress(start, w, most); err != nil {
		return nil, err
	} else if ok {
		return openPlain(newWindow(plain))
	}
	return openPlain(w)
}

func openPlain(w *window) (*Reader, error) {
	start, err := w.peek(4)
	var damaged *DamagedError
	if errors.As(err, &damaged) {
		return nil, damaged
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	if len(start) < 4 {
		return nil, &NotCaptureError{Start: bytes.Clone(start)}
	}
	var f format
	switch magic := binary.LittleEndian.Uint32(start); magic {
	case magicMicros, magicNanos, magicModified, swapped(magicMicros), swapped(magicNanos), swapped(magicModified):
		f, err = openPcap(w)
	case blockSection:
		f = newPcapng(w)
	default:
		start, _ = w.peek(16)
		return nil, &NotCaptureError{Start: bytes.Clone(start)}
	}
	if err != nil {
		return nil, err
	}
	return &Reader{format: f}, nil
}

// Notes returns what the capture said besides its packets, as far as it was read.
func (r *Reader) Notes() Notes { return r.format.notes() }

// Next fills in the next packet. It returns io.EOF at the end, a *DamagedError when the file breaks, and any other
// error when the input cannot be read; after an error it returns the same error again.
func (r *Reader) Next(p *Packet) error {
	if r.err != nil {
		return r.err
	}
	if err := r.format.next(p); err != nil {
		r.err = r.explain(err)
		return r.err
	}
	r.packets++
	p.Number = r.packets
	return nil
}

// explain adds how far the reader came.
func (r *Reader) explain(err error) error {
	var damaged *DamagedError
	switch {
	case errors.Is(err, io.EOF):
		return err
	case errors.As(err, &damaged):
		damaged.After = r.packets
		return damaged
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &DamagedError{After: r.packets, Truncated: true, Reason: "the file ends in the middle of a record"}
	}
	return fmt.Errorf("read capture after packet %d: %w", r.packets, err)
}

func damagedf(format string, args ...any) error {
	return &DamagedError{Reason: fmt.Sprintf(format, args...)}
}

func swapped(v uint32) uint32 {
	return v>>24 | v>>8&0xff00 | v<<8&0xff0000 | v<<24
}
