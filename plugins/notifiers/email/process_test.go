//go:build unix

package email

import (
	"testing"

	"github.com/picketwatch/picket/plugins/internal/processtest"
)

func TestProcess(t *testing.T) {
	s := startExim(t, eximOptions{login: true})
	config := s.config(t, map[string]any{"username": "picket"})
	inst := processtest.Start(t, "picket/email", config, map[string]string{"password": "right"})
	got, err := inst.Notify(t.Context(), notice)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.logged(t))
	}
	if id := s.mails(t, 1)[0].Header.Get("Message-Id"); id != got.ForeignID || id == "" {
		t.Errorf("message id %q, receipt %+v", id, got)
	}
}
