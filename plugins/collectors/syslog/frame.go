package syslog

import (
	"bufio"
	"errors"
	"io"
)

// frames cuts a TCP stream into messages (RFC 6587): one that begins with a digit states its length, any other ends
// with a line feed or a NUL. A sender may mix both.
type frames struct {
	in  *bufio.Reader
	max int // bytes of a message
}

var (
	errTooLong = errors.New("longer than max_message") // the stream goes on behind it
	errFraming = errors.New("a length that cannot be") // nobody knows where the next message begins
)

func newFrames(r io.Reader, maxMessage int) *frames {
	return &frames{in: bufio.NewReaderSize(r, maxMessage+1), max: maxMessage}
}

// next returns the next message, which is valid until the next call. Empty lines are passed over.
func (f *frames) next() ([]byte, error) {
	for {
		first, err := f.in.Peek(1)
		if err != nil {
			return nil, err
		}
		if first[0] >= '1' && first[0] <= '9' {
			return f.counted()
		}
		line, err := f.line()
		if err != nil || len(line) > 0 {
			return line, err
		}
	}
}

func (f *frames) counted() ([]byte, error) {
	n := 0
	for digits := 0; ; digits++ {
		c, err := f.in.ReadByte()
		if err != nil {
			return nil, err
		}
		if c == ' ' {
			break
		}
		if c < '0' || c > '9' || digits >= 9 {
			return nil, errFraming
		}
		n = n*10 + int(c-'0')
	}
	if n > f.max {
		if _, err := f.in.Discard(n); err != nil {
			return nil, err
		}
		return nil, errTooLong
	}
	text, err := f.in.Peek(n)
	if err != nil {
		return nil, err
	}
	_, _ = f.in.Discard(n) // what was peeked is there
	return text, nil
}

// line reads up to a line feed or NUL, and passes over the rest of a line that is too long.
func (f *frames) line() ([]byte, error) {
	for n := 1; ; n++ {
		text, err := f.in.Peek(n)
		if err != nil {
			if n > 1 && errors.Is(err, io.EOF) { // the last line lacks its end
				_, _ = f.in.Discard(n - 1)
				return text[:n-1], nil
			}
			return nil, err
		}
		if c := text[n-1]; c == '\n' || c == 0 {
			_, _ = f.in.Discard(n)
			return trimCR(text[:n-1]), nil
		}
		if n > f.max {
			return nil, f.passOver()
		}
	}
}

func (f *frames) passOver() error {
	for {
		c, err := f.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return errTooLong // and at the next call the end
		case err != nil:
			return err
		case c == '\n' || c == 0:
			return errTooLong
		}
	}
}

func trimCR(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		return b[:n-1]
	}
	return b
}
