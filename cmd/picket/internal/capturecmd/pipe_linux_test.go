package capturecmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func pipe(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The end of the context ends the wait for a reader who never comes.
func TestNobodyReadsAPipe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	said := &bytes.Buffer{}
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := create(ctx, pipe(t), io.Discard, said); err == nil || !strings.Contains(err.Error(), "nothing was captured") {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "Waiting for somebody to read") {
		t.Errorf("said %q", said)
	}
}

// What is written is read; and a reader who takes nothing does not keep the end of the context from ending the write.
func TestAReaderThatStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	file := pipe(t)
	reader := make(chan *os.File, 1)
	go func() {
		f, _ := os.Open(file)
		reader <- f
	}()
	out, err := create(ctx, file, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in := <-reader
	defer in.Close()
	if _, err := out.Write([]byte("packet")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "packet" {
		t.Fatalf("%q, %v", got, err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	for err == nil {
		_, err = out.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}
