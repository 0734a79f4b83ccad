package adminsock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, dir, Handlers{Token: func(_ context.Context, r TokenRequest, uid int) (string, error) {
			if r.Role != "ADM" {
				return "", errors.New("role: no such role")
			}
			if uid != os.Getuid() {
				t.Errorf("uid %d, want %d", uid, os.Getuid())
			}
			return "picket_" + r.Name, nil
		}, Reset: func(_ context.Context, r ResetRequest, uid int) (string, error) {
			return fmt.Sprintf("http://x/setup#token=%s-%d", r.Name, uid), nil
		}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		if info, err := os.Stat(filepath.Join(dir, Name)); err == nil && info.Mode().Perm() == 0o600 || time.Now().After(deadline) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestATokenThroughTheSocket(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("a", 60), strings.Repeat("b", 60))
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"short path": t.TempDir(), "path too long for a socket": long} {
		t.Run(name, func(t *testing.T) {
			serve(t, dir)
			info, err := os.Stat(filepath.Join(dir, Name))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("socket: %v, %v", info, err)
			}
			token, err := CreateToken(t.Context(), dir, TokenRequest{Role: "ADM", Name: "ci"})
			if err != nil || token != "picket_ci" {
				t.Errorf("token %q, %v", token, err)
			}
			link, err := ResetUser(t.Context(), dir, ResetRequest{Name: "ada"})
			if err != nil || link != fmt.Sprintf("http://x/setup#token=ada-%d", os.Getuid()) {
				t.Errorf("link %q, %v", link, err)
			}
			if _, err := CreateToken(t.Context(), dir, TokenRequest{Role: "KING"}); err == nil || !strings.Contains(err.Error(), "no such role") {
				t.Errorf("wrong role: %v", err)
			}
		})
	}
}

func TestALeftSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, Name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestNobodyThere(t *testing.T) {
	_, err := CreateToken(t.Context(), t.TempDir(), TokenRequest{Role: "ADM"})
	if !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}
