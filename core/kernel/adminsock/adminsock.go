// Package adminsock is the door of a running server for the people who own its machine: a unix socket in the data
// folder that only the server's own user and root may use. A request for an API token or for a way back in goes in;
// a secret comes out.
// The command line uses the client half, so nothing heavy is linked here.
package adminsock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Name is the socket's name in the data folder.
const Name = "admin.sock"

const maxMessage = 64 << 10

// maxReply is more: an explanation holds permissions, history and observed use.
const maxReply = 4 << 20

// TokenRequest asks for an API token.
type TokenRequest struct {
	Role   string   `json:"role"`
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"` // what of the role it may; none: all of it
}

// ResetRequest asks for a link that lets somebody in again. Without a name it is the administrator.
type ResetRequest struct {
	Name string `json:"name"`
}

// Handlers answer what is asked; uid is whose process asks.
type Handlers struct {
	Token func(ctx context.Context, r TokenRequest, uid int) (secret string, err error)
	Reset func(ctx context.Context, r ResetRequest, uid int) (link string, err error)
	// Explain tells what every instance of a plugin rests on, as JSON.
	Explain func(ctx context.Context, r ExplainRequest, uid int) (string, error)
	// Trace tells where the capture of an alert lies and which detector raised it, as JSON.
	Trace func(ctx context.Context, r TraceRequest, uid int) (string, error)
	// Audit tells whether the audit log is whole: an AuditReport as JSON.
	Audit func(ctx context.Context, r AuditRequest, uid int) (string, error)
	// Trials is nil on a server that runs signed plugins only.
	Trials *Trials
}

// ExplainRequest asks about a plugin.
type ExplainRequest struct {
	Plugin string `json:"plugin"`
}

// TraceRequest asks about an alert.
type TraceRequest struct {
	Alert string `json:"alert"`
}

// AuditRequest asks whether the audit log is whole. Since may be an end of it that was noted earlier.
type AuditRequest struct {
	Since string `json:"since"`
}

// AuditReport says whether the audit log is whole: Broken is 0 then.
type AuditReport struct {
	Lines   int64  `json:"lines"`
	Head    string `json:"head"`
	Broken  int64  `json:"broken"`
	Problem string `json:"problem"`
}

// String is the report in words.
func (r AuditReport) String() string {
	if r.Broken > 0 {
		return fmt.Sprintf("the audit log was altered: line %d: %s (the %d before it are as they were written)", r.Broken, r.Problem, r.Lines)
	}
	return fmt.Sprintf("the audit log is whole: %d lines\nits end: %s\n(note that elsewhere; --since shows later that the file is not an older one)", r.Lines, r.Head)
}

type reply struct {
	Token string `json:"token,omitempty"`
	Link  string `json:"link,omitempty"`
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
}

// Serve answers requests until ctx ends.
func Serve(ctx context.Context, dir string, h Handlers) error {
	l, err := listen(dir)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           handler(h),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, uidKey{}, uidOf(c))
		},
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("administrators' socket: %w", err)
	}
	return nil
}

type uidKey struct{}

func handler(h Handlers) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tokens", ask(h.Token, func(s string) reply { return reply{Token: s} }))
	mux.HandleFunc("POST /reset", ask(h.Reset, func(s string) reply { return reply{Link: s} }))
	mux.HandleFunc("POST /explain", ask(h.Explain, func(s string) reply { return reply{Text: s} }))
	mux.HandleFunc("POST /trace", ask(h.Trace, func(s string) reply { return reply{Text: s} }))
	mux.HandleFunc("POST /audit", ask(h.Audit, func(s string) reply { return reply{Text: s} }))
	h.trialRoutes(mux)
	return mux
}

func ask[R any](do func(context.Context, R, int) (string, error), as func(string) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if do == nil {
			answer(w, reply{Error: "this server does not answer that"})
			return
		}
		uid := peer(r)
		var in R
		if err := json.NewDecoder(io.LimitReader(r.Body, maxMessage)).Decode(&in); err != nil {
			answer(w, reply{Error: "the request is not understood"})
			return
		}
		text, err := do(r.Context(), in, uid)
		if err != nil {
			answer(w, reply{Error: err.Error()})
			return
		}
		answer(w, as(text))
	}
}

func answer(w http.ResponseWriter, r reply) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(r) // the other side may be gone; there is nobody else to tell
}

// listen makes the socket. Nobody else can reach it before its mode is set, because the data folder is private, and
// each peer is checked besides.
func listen(dir string) (net.Listener, error) {
	path := filepath.Join(dir, Name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("administrators' socket: %w", err)
	}
	var l net.Listener
	err := inFolder(dir, func(short string) (err error) {
		l, err = net.Listen("unix", short)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("administrators' socket %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // its address may be a short one that is gone by then
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("administrators' socket: %w", err)
	}
	return guarded{l}, nil
}

// guarded turns away everybody but root and the user that the server runs as, whatever the permissions of the file
// have become.
type guarded struct{ net.Listener }

func (g guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if uid := uidOf(c); uid == os.Geteuid() || uid == 0 {
			return c, nil
		}
		c.Close()
	}
}

// ErrNotRunning says that no server answers at the socket.
var ErrNotRunning = errors.New("no picketd answers there")

// CreateToken asks the server that runs on dir for a token.
func CreateToken(ctx context.Context, dir string, r TokenRequest) (string, error) {
	out, err := post(ctx, dir, "/tokens", r)
	return out.Token, err
}

// ResetUser asks the server that runs on dir for a link that lets a user in again.
func ResetUser(ctx context.Context, dir string, r ResetRequest) (string, error) {
	out, err := post(ctx, dir, "/reset", r)
	return out.Link, err
}

// Explain asks the server that runs on dir what the instances of a plugin rest on. The answer is JSON.
func Explain(ctx context.Context, dir string, r ExplainRequest) (string, error) {
	out, err := post(ctx, dir, "/explain", r)
	return out.Text, err
}

// Trace asks the server that runs on dir where an alert comes from. The answer is JSON.
func Trace(ctx context.Context, dir string, r TraceRequest) (string, error) {
	out, err := post(ctx, dir, "/trace", r)
	return out.Text, err
}

// VerifyAudit asks the server that runs on dir whether its audit log is whole.
func VerifyAudit(ctx context.Context, dir string, r AuditRequest) (report AuditReport, err error) {
	out, err := post(ctx, dir, "/audit", r)
	if err != nil {
		return report, err
	}
	return report, json.Unmarshal([]byte(out.Text), &report)
}

func post(ctx context.Context, dir, path string, r any) (out reply, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return reply{}, err
	}
	resp, err := send(ctx, dir, http.MethodPost, path, bytes.NewReader(body), 15*time.Second)
	if err != nil {
		return reply{}, err
	}
	return readReply(resp)
}

// send makes one request; timeout 0 is no bound.
func send(ctx context.Context, dir, method, path string, body io.Reader, timeout time.Duration) (*http.Response, error) {
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
			err = inFolder(dir, func(short string) (err error) {
				c, err = (&net.Dialer{}).DialContext(ctx, "unix", short)
				return err
			})
			return c, err
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://picketd"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%s may only be used by the user that picketd runs as: %w", filepath.Join(dir, Name), os.ErrPermission)
	}
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", ErrNotRunning, filepath.Join(dir, Name))
	}
	return resp, nil
}

func readReply(resp *http.Response) (out reply, err error) {
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&out); err != nil {
		return reply{}, fmt.Errorf("the answer of picketd is not understood: %w", err)
	}
	if out.Error != "" {
		return reply{}, errors.New(out.Error)
	}
	return out, nil
}

// inFolder calls use with an address of the socket that is short enough: the path of a unix socket has room for about
// a hundred bytes, a data folder's may be longer.
func inFolder(dir string, use func(path string) error) error {
	path := filepath.Join(dir, Name)
	if len(path) < 100 {
		return use(path)
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return use(filepath.Join("/proc/self/fd", strconv.Itoa(int(f.Fd())), Name))
}
