package guest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// fake is a runner whose every function answers the same.
type fake struct {
	request []byte
	waiting []byte
	result  int64
}

func (f *fake) imports() *imports {
	ask := func(request []byte) int64 {
		f.request = append([]byte{}, request...)
		return f.result
	}
	return &imports{
		log: func(slog.Level, []byte) {}, now: func() time.Time { return time.Unix(1, 0) },
		take: func(into []byte) uint32 { return uint32(copy(into, f.waiting)) },
		dial: ask, open: ask, fetch: ask, stateGet: ask, statePut: ask,
		read:     func(uint32, []byte) int64 { return f.result },
		write:    func(uint32, []byte) int64 { return f.result },
		seek:     func(uint32, int64, uint32) int64 { return f.result },
		deadline: func(uint32, uint32, int64) int64 { return f.result },
		close:    func(uint32) int64 { return f.result },
	}
}

func (f *fake) answer(data string) { f.waiting, f.result = []byte(data), int64(len(data)) }
func (f *fake) fail(data string)   { f.waiting, f.result = []byte(data), -int64(len(data)) }

func TestHostOfAGuest(t *testing.T) {
	f := &fake{}
	h := newHost(abi.InstanceConfig{Instance: "i"}, f.imports())
	f.answer(`{"handle": 7, "local": "127.0.0.1:1", "remote": "127.0.0.1:2"}`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", "a:2")
	if err != nil || conn.RemoteAddr().String() != "127.0.0.1:2" {
		t.Fatalf("%v, %v", conn, err)
	}
	var asked abi.DialRequest
	if err := json.Unmarshal(f.request, &asked); err != nil || asked.Instance != "i" || asked.Address != "a:2" || asked.Timeout <= 59*time.Minute {
		t.Errorf("the request is %+v, %v", asked, err)
	}
	f.result = 0
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the end of a connection: %v", err)
	}
	if n, err := conn.Write(make([]byte, 3*abi.MaxChunk)); n != 3*abi.MaxChunk || err != nil {
		t.Errorf("%d bytes written, %v", n, err)
	}
	f.fail(`{"class": "temporary", "message": "late", "timeout": true}`)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("a time-out: %v", err)
	}
	f.result = 0
	if err := errors.Join(conn.SetDeadline(time.Now()), conn.SetReadDeadline(time.Time{}), conn.Close()); err != nil {
		t.Error(err)
	}
	if conn.Close() == nil {
		t.Error("it closed twice")
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("a write after the close")
	}

	framed, err := abi.AppendFramed(nil, abi.FetchAnswer{Status: http.StatusOK})
	if err != nil {
		t.Fatal(err)
	}
	f.answer(string(framed) + "body")
	if resp, err := h.Fetch(ctx, sdk.Request{URL: "http://a/"}); err != nil || resp.Status != 200 || string(resp.Body) != "body" {
		t.Errorf("%+v, %v", resp, err)
	}
	if _, err := h.Fetch(ctx, sdk.Request{Body: make([]byte, sdk.MaxFetch+1)}); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a body that is too large: %v", err)
	}
	f.answer("\x00")
	if v, err := h.State().Get("k"); v != nil || err != nil {
		t.Errorf("a missing value: %q, %v", v, err)
	}
	f.answer("\x01")
	if v, err := h.State().Get("k"); v == nil || len(v) != 0 || err != nil {
		t.Errorf("an empty value: %q, %v", v, err)
	}
	f.fail(`{"class": "permission_denied", "message": "no grant"}`)
	if _, err := h.Open("/x"); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("a refusal: %v", err)
	}
	cancel()
	if _, err := h.Dial(ctx, "tcp", "a:2"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// A host that answers nonsense gives errors.
func TestBrokenHost(t *testing.T) {
	f := &fake{}
	h := newHost(abi.InstanceConfig{}, f.imports())
	for _, answer := range []string{"", "x", strings.Repeat("x", 100), "\xff\xff\xff\xff{}"} {
		f.answer(answer)
		if _, err := h.Dial(t.Context(), "tcp", "a:1"); err == nil {
			t.Errorf("dial took %q", answer)
		}
		if _, err := h.Fetch(t.Context(), sdk.Request{}); err == nil {
			t.Errorf("fetch took %q", answer)
		}
		f.fail(answer + " ")
		if err := h.State().Put("k", nil); err == nil {
			t.Errorf("put took the error %q", answer)
		}
	}
	f.result = -1 << 60
	if _, err := h.State().Get("k"); err == nil {
		t.Error("an error of 2^60 bytes was taken")
	}
}

// A model is a file whose answer names its release; without that it is none.
func TestModelOfAGuest(t *testing.T) {
	const words = "the words"
	var at int64
	var closed []uint32
	f := &fake{}
	i := f.imports()
	i.seek = func(_ uint32, offset int64, _ uint32) int64 { at = offset; return at }
	i.read = func(_ uint32, b []byte) int64 {
		n := copy(b[:min(len(b), 4)], words[min(at, int64(len(words))):]) // never all at once
		at += int64(n)
		return int64(n)
	}
	i.close = func(handle uint32) int64 { closed = append(closed, handle); return 0 }
	h := newHost(abi.InstanceConfig{Instance: "i"}, i)
	f.answer(`{"handle": 3, "file": {"name": "acme/words", "size": 9}, "model": {"version": "1.2.0", "digest": "ab"}}`)
	m, err := h.Model("acme/words")
	if err != nil {
		t.Fatal(err)
	}
	var asked abi.OpenRequest
	if err := json.Unmarshal(f.request, &asked); err != nil || asked.Name != "acme/words" {
		t.Errorf("it asked for %+v, %v", asked, err)
	}
	for range 2 {
		if data, err := m.Bytes(); err != nil || string(data) != words || m.Version != "1.2.0" || m.Size() != 9 {
			t.Errorf("%q of %+v, %v", data, m, err)
		}
	}
	part := make([]byte, 8)
	if n, err := m.ReadAt(part, 4); n != 5 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if err := m.Close(); err != nil || len(closed) != 1 || closed[0] != 3 {
		t.Errorf("closed %v, %v", closed, err)
	}
	if _, err := m.Bytes(); err == nil {
		t.Error("it is read after its end")
	}
	f.answer(`{"handle": 4, "file": {"size": 9}}`)
	if _, err := h.Model("acme/words"); err == nil || len(closed) != 2 {
		t.Errorf("a file is taken for a model: %v, closed %v", err, closed)
	}
	f.request = nil
	for _, bad := range []string{"/etc/passwd", "words", "acme/words/more", ""} {
		if _, err := h.Model(bad); err == nil || f.request != nil {
			t.Errorf("%q was asked for: %v", bad, err)
		}
	}
}
