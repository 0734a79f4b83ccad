package adminsock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func serveTrials(t *testing.T, trials *Trials) string {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, dir, Handlers{Trials: trials}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	waitForSocket(t, dir)
	return dir
}

func waitForSocket(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if _, err := Explain(t.Context(), dir, ExplainRequest{}); !errors.Is(err, ErrNotRunning) {
			return
		}
	}
	t.Fatal("nobody answers at the socket")
}

func TestATrialLastsAsLongAsItsAuthor(t *testing.T) {
	ended := make(chan struct{})
	dir := serveTrials(t, &Trials{
		Run: func(ctx context.Context, tr Trial, artifacts io.Reader, _ int, emit func(Event) error) error {
			defer close(ended)
			data, err := io.ReadAll(artifacts)
			if err != nil || string(data) != "program" || string(tr.Descriptor) != "{ \"x\": \"<&>\" }" {
				t.Errorf("got %q, %q, %v", tr.Descriptor, data, err)
			}
			if err := emit(Event{Type: "session", Session: "s1"}); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		},
		Swap: func(_ context.Context, session string, _ Trial, artifacts io.Reader, _ int) error {
			if data, err := io.ReadAll(artifacts); session != "s1" || string(data) != "newer" || err != nil {
				t.Errorf("swap of %q: %q, %v", session, data, err)
			}
			return errors.New("it does not start")
		},
		Capture: func(_ context.Context, session, name string, r io.Reader) error {
			if data, err := io.ReadAll(r); session != "s1" || name != "a.pcap" || string(data) != "packets" || err != nil {
				t.Errorf("capture %q of %q: %q, %v", name, session, data, err)
			}
			return nil
		},
		Notice: func(_ context.Context, session string) (string, error) { return "delivered for " + session, nil },
	})
	if err := TakesTrials(t.Context(), dir); err != nil {
		t.Errorf("a server that takes trials says %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	err := RunTrial(ctx, dir, Trial{Descriptor: []byte("{ \"x\": \"<&>\" }")}, strings.NewReader("program"), func(e Event) {
		if err := SwapTrial(t.Context(), dir, e.Session, Trial{}, strings.NewReader("newer")); err == nil || err.Error() != "it does not start" {
			t.Errorf("swap: %v", err)
		}
		if err := AnalyseCapture(t.Context(), dir, e.Session, "a.pcap", strings.NewReader("packets")); err != nil {
			t.Errorf("capture: %v", err)
		}
		if text, err := SendNotice(t.Context(), dir, e.Session); text != "delivered for s1" || err != nil {
			t.Errorf("notice: %q, %v", text, err)
		}
		stop()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the server still runs the plugin of an author who left")
	}
}

func TestAServerThatTakesNothingUnsigned(t *testing.T) {
	dir := serveTrials(t, nil)
	for what, err := range map[string]error{
		"run":     RunTrial(t.Context(), dir, Trial{}, strings.NewReader(""), func(Event) {}),
		"swap":    SwapTrial(t.Context(), dir, "s", Trial{}, strings.NewReader("")),
		"capture": AnalyseCapture(t.Context(), dir, "s", "n", strings.NewReader("")),
		"ask":     TakesTrials(t.Context(), dir),
		"notice":  func() error { _, err := SendNotice(t.Context(), dir, "s"); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), "start it with --dev") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzDecodeTrial(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, '{', '}', 'x'})
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		if _, err := decodeTrial(r); err == nil && r.Len() == len(data) {
			t.Error("nothing was read, and all was well")
		}
	})
}
