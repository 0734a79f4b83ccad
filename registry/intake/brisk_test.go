package intake

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// deadlines notes what a body asks of its connection.
type deadlines struct {
	*httptest.ResponseRecorder
	last time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.last = t; return nil }

// A body may take as long as it has bytes to show for it.
func TestABodyHasToKeepComing(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	end := time.Now().Add(time.Hour)
	b := &brisk{r: strings.NewReader(strings.Repeat("x", 10*minRate)), control: http.NewResponseController(w), end: end}
	if n, err := b.Read(make([]byte, 2*minRate)); n != 2*minRate || err != nil || !w.last.Equal(end) {
		t.Fatal(n, err, w.last)
	}
	if _, err := b.Read(make([]byte, 1)); err != nil || !w.last.Equal(end.Add(2*time.Second)) {
		t.Errorf("after two seconds' worth of bytes its deadline is %s later, %v", w.last.Sub(end), err)
	}
	b.end = time.Now().Add(-time.Second)
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("too late: %v", err)
	}
}
