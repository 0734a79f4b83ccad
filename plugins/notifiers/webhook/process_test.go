package webhook

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/processtest"
	"github.com/picketwatch/picket/sdk"
)

func TestProcess(t *testing.T) {
	var busy atomic.Bool
	busy.Store(true)
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if busy.Load() {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"id": "T-17"}`)
	})
	inst := processtest.Start(t, "picket/webhook", r.config(t, "/hook", nil), map[string]string{"secret": "a shared secret"})

	_, err := inst.Notify(t.Context(), notice)
	if e, ok := asError(err); !ok || e.Class != sdk.Temporary || e.RetryAfter != 7*time.Second {
		t.Errorf("busy: %#v", err)
	}
	busy.Store(false)
	got, err := inst.Notify(t.Context(), notice)
	if err != nil || got.ForeignID != "T-17" {
		t.Fatalf("%+v, %v", got, err)
	}
	h := r.got[1].Header
	if h.Get("Webhook-Signature") != sign([]byte("a shared secret"), h.Get("Webhook-Id"), h.Get("Webhook-Timestamp"), []byte(r.body[1])) {
		t.Error("the secret did not reach the plugin")
	}
}
