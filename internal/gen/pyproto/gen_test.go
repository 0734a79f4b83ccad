package main

import (
	"bytes"
	"os"
	"testing"
)

func TestMessagesAreUpToDate(t *testing.T) {
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(target("../../.."))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the descriptors give; run go run ./internal/gen/pyproto", target(""))
	}
}
