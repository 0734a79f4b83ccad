package durable

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A disk that is full from any step on leaves the old content or the new one, and no other file.
func TestWriteFileFailsAtEachStep(t *testing.T) {
	for failing := 0; ; failing++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		step := 0
		restore := Intercept(func(Op, string) error {
			step++
			if step > failing {
				return syscall.ENOSPC
			}
			return nil
		})
		err := WriteFile(path, []byte("new"), 0o600)
		restore()
		got, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		names, _ := os.ReadDir(dir)
		if len(names) != 1 {
			t.Errorf("step %d: left behind %v", failing, names)
		}
		if err == nil {
			if string(got) != "new" || failing < 4 {
				t.Errorf("success after %d steps with %q", failing, got)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("step %d: %v", failing, err)
		}
		if s := string(got); s != "old" && s != "new" {
			t.Errorf("step %d: half-written %q", failing, s)
		}
	}
}
