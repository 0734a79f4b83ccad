package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for something that should happen soon. It is not a budget: a slow machine must
// not fail a test.
const patience = 60 * time.Second

func repoRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// bin returns the path of a built program and skips the test where the whole-system tests were not asked for.
func bin(t *testing.T, name string) string {
	t.Helper()
	if os.Getenv("PICKET_E2E") == "" {
		t.Skip("whole-system test: run `make e2e`, or set PICKET_E2E=1 after `make build`")
	}
	path := filepath.Join(cmp.Or(os.Getenv("PICKET_BIN_DIR"), filepath.Join(repoRoot(t), "bin")), name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is not built: run `make build` first", name)
	}
	return path
}

// program is a running process of the product whose output is kept.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	mu   sync.Mutex // guards out
	out  bytes.Buffer
	done chan struct{}
}

func start(t *testing.T, path string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "NO_COLOR=1")
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	_ = w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewReader(pipe)
		for {
			line, err := lines.ReadString('\n')
			p.mu.Lock()
			p.out.WriteString(line)
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		_ = p.cmd.Wait()
		// Children may hold the pipe for a moment longer; what matters was printed by then.
		select {
		case <-read:
		case <-time.After(2 * time.Second):
		}
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(path), p.output())
		}
	})
	return p
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func (p *program) kill9() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks as Ctrl-C does and kills only what does not listen.
func (p *program) stop() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Errorf("%s did not stop within %s of SIGINT", filepath.Base(p.cmd.Path), patience)
		p.kill9()
	}
}

// exitCode waits for the end of the program.
func (p *program) exitCode() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("%s still runs after %s; it printed:\n%s", filepath.Base(p.cmd.Path), patience, p.output())
		return -1
	}
}

// waitFor polls until check returns true, and says what it waited for when it never does.
func waitFor(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !check() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// server is a running picketd with a signed-in session.
type server struct {
	*program
	data string
	url  string
	http *http.Client
	csrf string
}

var link = regexp.MustCompile(`http://[0-9.:]+/(signin|setup)[#?]token=[A-Za-z0-9_.-]+`)

// startDev starts `picketd --dev` on a fresh data folder and signs in by the printed link.
func startDev(t *testing.T) *server {
	t.Helper()
	return startServer(t, filepath.Join(t.TempDir(), "data"), freePort(t))
}

func startServer(t *testing.T, data string, port int, more ...string) *server {
	t.Helper()
	s := &server{data: data, url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	args := append([]string{"--dev", "--data", data, "--listen", "127.0.0.1:" + strconv.Itoa(port)}, more...)
	s.program = start(t, bin(t, "picketd"), args...)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.http = &http.Client{Jar: jar, Timeout: patience}
	var token string
	waitFor(t, "the sign-in link", func() bool {
		select {
		case <-s.done:
			t.Fatalf("picketd ended; it printed:\n%s", s.output())
		default:
		}
		m := link.FindString(s.output())
		_, token, _ = strings.Cut(m, "token=")
		return m != ""
	})
	waitFor(t, "readiness", func() bool {
		resp, err := s.http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	s.call(t, http.MethodPost, "/api/v1/signin", map[string]string{"token": token}, nil)
	var me struct {
		CSRF string `json:"csrf"`
	}
	s.get(t, "/api/v1/me", &me)
	s.csrf = me.CSRF
	return s
}

// call sends JSON, wants a 2xx answer and decodes it into out when out is not nil.
func (s *server) call(t *testing.T, method, path string, in, out any) {
	t.Helper()
	status, body := s.try(t, method, path, in)
	if status < 200 || status > 299 {
		t.Fatalf("%s %s: %d %s", method, path, status, body)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, body)
		}
	}
}

func (s *server) get(t *testing.T, path string, out any) {
	t.Helper()
	s.call(t, http.MethodGet, path, nil, out)
}

func (s *server) try(t *testing.T, method, path string, in any) (int, []byte) {
	t.Helper()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return s.do(t, req)
}

func (s *server) do(t *testing.T, req *http.Request) (int, []byte) {
	t.Helper()
	req.Header.Set("X-Picket-CSRF", s.csrf)
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return resp.StatusCode, raw
}

// upload sends a capture and returns its job once it is done or failed.
func (s *server) upload(t *testing.T, path string) capture {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(raw)
	_ = form.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/captures", &body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	status, answer := s.do(t, req)
	if status != http.StatusAccepted {
		t.Fatalf("upload %s: %d %s", path, status, answer)
	}
	var c capture
	if err := json.Unmarshal(answer, &c); err != nil {
		t.Fatal(err)
	}
	return s.captureDone(t, c.ID)
}

type capture struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	State    string `json:"state"`
	Packets  uint64 `json:"packets"`
	Flows    uint64 `json:"flows"`
	Error    string `json:"error"`
	Findings int    `json:"findings"`
}

func (s *server) captureDone(t *testing.T, id string) capture {
	t.Helper()
	var c capture
	waitFor(t, "the capture to be analysed", func() bool {
		s.get(t, "/api/v1/captures/"+id, &c)
		return c.State == "done" || c.State == "failed"
	})
	return c
}

type alert struct {
	ID         string   `json:"id"`
	State      string   `json:"state"`
	Severity   string   `json:"severity"`
	Detector   string   `json:"detector"`
	Rule       string   `json:"rule"`
	Techniques []string `json:"techniques"`
	Src        string   `json:"src"`
	Dst        string   `json:"dst"`
	CaptureID  string   `json:"capture_id"`
	Confidence float64  `json:"confidence"`
}

func (s *server) alerts(t *testing.T, query string) []alert {
	t.Helper()
	var page struct {
		Items []alert `json:"items"`
	}
	s.get(t, "/api/v1/alerts?"+query, &page)
	return page.Items
}

type instance struct {
	Instance string `json:"instance"`
	Plugin   string
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Runtime  string `json:"runtime"`
	PID      int    `json:"pid"`
	Restarts int    `json:"restarts"`
	Node     struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"node"`
}

// instances returns what the plugins page shows, by plugin id.
func (s *server) instances(t *testing.T) map[string]instance {
	t.Helper()
	var page struct {
		Items []struct {
			ID        string     `json:"id"`
			Enabled   bool       `json:"enabled"`
			Instances []instance `json:"instances"`
		} `json:"items"`
	}
	s.get(t, "/api/v1/plugins", &page)
	out := map[string]instance{}
	for _, p := range page.Items {
		for _, i := range p.Instances {
			i.Plugin = p.ID
			out[p.ID] = i
		}
	}
	return out
}

// ready waits until the plugin's instance is ready and returns it.
func (s *server) ready(t *testing.T, plugin string) instance {
	t.Helper()
	var i instance
	waitFor(t, plugin+" to be ready", func() bool {
		i = s.instances(t)[plugin]
		return i.State == "ready" && i.PID > 0 && alive(i.PID)
	})
	return i
}

type series struct {
	Unit   string `json:"unit"`
	Series []struct {
		Labels map[string]string `json:"labels"`
		Points [][2]*float64     `json:"points"`
	} `json:"series"`
}

// points counts the values of a metric in the last hour.
func (s *server) points(t *testing.T, metric string) int {
	t.Helper()
	q := url.Values{
		"metric": {metric},
		"from":   {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)},
		"to":     {time.Now().Add(time.Minute).UTC().Format(time.RFC3339)},
		"step":   {"1s"},
	}
	var got series
	s.get(t, "/api/v1/series?"+q.Encode(), &got)
	n := 0
	for _, one := range got.Series {
		for _, p := range one.Points {
			if p[1] != nil {
				n++
			}
		}
	}
	return n
}

func (s *server) audit(t *testing.T) string {
	t.Helper()
	_, body := s.try(t, http.MethodGet, "/api/v1/audit?limit=200", nil)
	return string(body)
}

// alive reports whether a process runs (a zombie does not).
func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, ok := strings.Cut(string(raw), ") ")
	return ok && !strings.HasPrefix(rest, "Z")
}

// descendants returns the processes below pid, oldest first.
func descendants(pid int) []int {
	var out []int
	raw, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range raw {
		text, _ := os.ReadFile(f)
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				out = append(append(out, child), descendants(child)...)
			}
		}
	}
	return out
}
