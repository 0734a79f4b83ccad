package abi

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func TestErrorKeepsItsClass(t *testing.T) {
	in := &sdk.Error{Class: sdk.Temporary, Message: "try later", RetryAfter: time.Minute, Err: errors.New("busy")}
	out := ErrorOf(in).Err()
	var e *sdk.Error
	if !errors.As(out, &e) || e.Class != sdk.Temporary || e.RetryAfter != time.Minute || e.Error() != "try later: busy" {
		t.Errorf("got %#v", out)
	}
	if ErrorOf(nil) != nil || (*Error)(nil).Err() != nil {
		t.Error("no error became one")
	}
	if c := sdk.ClassOf(ErrorOf(errors.New("x")).Err()); c != sdk.Internal {
		t.Errorf("an unclassified error became %s", c)
	}
}

func TestHostileError(t *testing.T) {
	err := (&Error{Class: "fine", Message: strings.Repeat("x", 1<<20), RetryAfter: -1}).Err()
	var e *sdk.Error
	if !errors.As(err, &e) || e.Class != sdk.Internal || len(e.Message) > 5000 || e.RetryAfter != 0 {
		t.Errorf("got class %s, %d bytes, retry after %s", e.Class, len(e.Message), e.RetryAfter)
	}
}

func TestInspectRequest(t *testing.T) {
	data, err := AppendInspect(nil, "i", "c.pcap")
	if err != nil {
		t.Fatal(err)
	}
	instance, capture, frame, err := ParseInspect(append(data, "frame"...))
	if err != nil || instance != "i" || capture != "c.pcap" || string(frame) != "frame" {
		t.Errorf("got %q %q %q %v", instance, capture, frame, err)
	}
	for _, bad := range []string{"", "abc", "\xff\xff\xff\xff{}", "\x02\x00\x00\x00[]"} {
		if _, _, _, err := ParseInspect([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestPack(t *testing.T) {
	if ptr, n := Unpack(Pack(0xfffffff0, 0x80000001)); ptr != 0xfffffff0 || n != 0x80000001 {
		t.Errorf("got %x %x", ptr, n)
	}
}

func FuzzParseInspect(f *testing.F) {
	seed, _ := AppendInspect(nil, "i", "c")
	f.Add(append(seed, 1, 2, 3))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		instance, capture, frame, err := ParseInspect(data)
		if err != nil {
			return
		}
		again, err := AppendInspect(nil, instance, capture)
		if err != nil {
			t.Fatal(err)
		}
		i2, c2, f2, err := ParseInspect(append(again, frame...))
		if err != nil || i2 != instance || c2 != capture || !bytes.Equal(f2, frame) {
			t.Fatalf("%q became %q %q %q, %v", data, i2, c2, f2, err)
		}
	})
}
