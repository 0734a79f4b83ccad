package api

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Whoever stops taking an export, or takes it for ever, does not keep its file.
func TestAnExportThatNobodyTakesEnds(t *testing.T) {
	for name, w := range map[string]impatientWriter{
		"stands still": {silence: time.Millisecond, end: time.Now().Add(time.Hour)},
		"never ends":   {silence: time.Hour, end: time.Now()},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
				one := w
				one.Writer, one.control = answer, http.NewResponseController(answer)
				_, err := io.Copy(&one, endless{})
				ended <- err
			}))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil {
				t.Error("an endless export was taken to its end")
			}
		})
	}
}

// What is taken in time arrives whole.
func TestAnExportThatIsTakenArrives(t *testing.T) {
	want := make([]byte, 3<<20)
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		_, _ = impatient(answer).Write(want)
	}))
	defer server.Close()
	answer, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); err != nil || len(got) != len(want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
