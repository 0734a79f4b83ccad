package store

import (
	"context"
	"path/filepath"
	"testing"
)

func TestInstanceMemorySurvives(t *testing.T) {
	dir := t.TempDir()
	open := func() *Control {
		c, err := OpenControl(context.Background(), ControlConfig{Path: filepath.Join(dir, "data", "control.db"), KeyFile: filepath.Join(dir, "key")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := open()
	if got, err := c.LoadInstance("picket/ping"); got != nil || err != nil {
		t.Fatalf("got %q, %v from an empty file", got, err)
	}
	for _, text := range []string{`{"a":1}`, `{"a":2}`} {
		if err := c.SaveInstance("picket/ping", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open()
	if got, err := c.LoadInstance("picket/ping"); string(got) != `{"a":2}` || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if err := c.SaveInstance("picket/ping", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := c.LoadInstance("picket/ping"); got != nil || err != nil {
		t.Fatalf("got %q, %v after it was removed", got, err)
	}
}
