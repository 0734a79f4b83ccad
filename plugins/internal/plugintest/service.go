package plugintest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/picketwatch/picket/sdk"
)

// Service is a double of the service that a notifier posts to: it gives each request the same answer, and keeps what was
// asked.
type Service struct {
	URL string

	mu     sync.Mutex // guards posted
	posted []Posted
}

// Posted is one request that came.
type Posted struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// NewService listens on loopback until the test ends.
func NewService(tb testing.TB, status int, header map[string]string, body string) *Service {
	tb.Helper()
	s := &Service{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			tb.Errorf("read the request: %v", err)
		}
		s.mu.Lock()
		s.posted = append(s.posted, Posted{r.Method, r.URL.RequestURI(), r.Header, b})
		s.mu.Unlock()
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	tb.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Last is the newest request.
func (s *Service) Last(tb testing.TB) Posted {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.posted) == 0 {
		tb.Fatal("nothing was posted")
	}
	return s.posted[len(s.posted)-1]
}

// Notice is one as an alert makes it, with characters that markup has to escape.
func Notice() sdk.Notice {
	return sdk.Notice{
		ID: "n-1", Time: startOfTests, Event: "alert.firing", Severity: sdk.SeverityHigh, AlertID: "a-17", URL: "https://picket.example.org/alerts/17",
		Title: "Port scan from 192.0.2.7", Text: "192.0.2.7 tried <1000> ports & found *3* of them_open_.",
		Alert: &sdk.Finding{Detector: "picket/portscan", Rule: "vertical", Severity: sdk.SeverityHigh, Techniques: []string{"T1046"}, Src: "192.0.2.7", Dst: "192.0.2.9"},
	}
}

// Posts sends one notice to a double that answers so, and returns what it was asked.
func Posts(t *testing.T, inst sdk.Instance, configure func(url string) map[string]any, status int, header map[string]string, answer string, n sdk.Notice) (Posted, sdk.Receipt, error) {
	t.Helper()
	s := NewService(t, status, header, answer)
	Start(t, inst, JSON(t, configure(s.URL)))
	receipt, err := inst.(sdk.Notifier).Notify(t.Context(), n)
	return s.Last(t), receipt, err
}

// Answers checks what a notifier makes of answers that every service gives, and that no error shows the secret.
func Answers(t *testing.T, make func() sdk.Instance, configure func(url string) map[string]any, secret string) {
	t.Helper()
	closed := fmt.Sprintf("http://127.0.0.1:%d", FreePort(t))
	for name, c := range map[string]struct {
		status int
		header map[string]string
		class  sdk.Class
		after  time.Duration
	}{
		"busy":           {429, map[string]string{"Retry-After": "7"}, sdk.Temporary, 7 * time.Second},
		"broken":         {500, nil, sdk.Temporary, 0},
		"bad request":    {400, nil, sdk.Downstream, 0},
		"unknown":        {404, nil, sdk.Downstream, 0},
		"forbidden":      {403, nil, sdk.Downstream, 0},
		"elsewhere":      {307, map[string]string{"Location": "https://other.example.org/"}, sdk.Downstream, 0},
		"nobody listens": {0, nil, sdk.Temporary, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inst := make()
			url := closed
			if c.status != 0 {
				url = NewService(t, c.status, c.header, "why").URL
			}
			Start(t, inst, JSON(t, configure(url)))
			_, err := inst.(sdk.Notifier).Notify(t.Context(), Notice())
			if sdk.ClassOf(err) != c.class || err == nil {
				t.Fatalf("class %v of %v, want %v", sdk.ClassOf(err), err, c.class)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the secret: %v", err)
			}
			if e, _ := err.(*sdk.Error); c.after != 0 && (e == nil || e.RetryAfter != c.after) { //nolint:errorlint // the class is of the outermost
				t.Errorf("try again after %+v, want %v", e, c.after)
			}
		})
	}
}

// Documented checks a JSON body against testdata/documented.txt, which lists what the service's documentation allows: a
// line for each path with its type, "required" where it is, and "max=N" characters. What the service does not know must
// not be sent, and what it requires must be there.
func Documented(t *testing.T, body []byte) {
	t.Helper()
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	type rule struct {
		kind     string
		required bool
		max      int
	}
	rules := map[string]rule{}
	lines := bufio.NewScanner(bytes.NewReader(read(t, "testdata/documented.txt")))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] == "#" {
			continue
		}
		r := rule{kind: words[1]}
		for _, w := range words[2:] {
			if n, ok := strings.CutPrefix(w, "max="); ok {
				r.max, _ = strconv.Atoi(n)
			}
			r.required = r.required || w == "required"
		}
		rules[words[0]] = r
	}
	seen := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		kind := "null"
		switch v := v.(type) {
		case map[string]any:
			kind = "object"
			for name, member := range v {
				walk(strings.TrimPrefix(path+"."+name, "."), member)
			}
		case []any:
			kind = "array"
			for _, element := range v {
				walk(path+"[]", element)
			}
		case string:
			kind = "string"
			if r := rules[path]; r.max > 0 && utf8.RuneCountInString(v) > r.max {
				t.Errorf("%s has %d characters, at most %d are allowed", path, utf8.RuneCountInString(v), r.max)
			}
		case float64:
			kind = "number"
		case bool:
			kind = "boolean"
		}
		seen[path] = true
		if r, known := rules[path]; path != "" && (!known || r.kind != kind && r.kind != "any") {
			t.Errorf("%s is a %s; documented is %q", path, kind, r.kind)
		}
	}
	walk("", value)
	for path, r := range rules {
		if r.required && !seen[path] {
			t.Errorf("%s is required and missing", path)
		}
	}
}

// Golden compares a JSON body with a file under testdata; PICKET_UPDATE=1 writes it.
func Golden(t *testing.T, name string, body []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, body, "", "  "); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	pretty.WriteByte('\n')
	path := "testdata/" + name + ".json"
	if os.Getenv("PICKET_UPDATE") != "" {
		if err := os.WriteFile(path, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, path); !bytes.Equal(want, pretty.Bytes()) {
		t.Errorf("sent is\n%s\n%s has\n%s", pretty.Bytes(), path, want)
	}
}
