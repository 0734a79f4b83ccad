package agent

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
)

//go:embed status.html
var statusPage string

// AddressFile names the file in the data folder that says where the page of a running agent is.
const AddressFile = "status-address"

// listen opens the local page. It must be on loopback: the page has no password.
func listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &UsageError{fmt.Sprintf("--status-listen %q: want an address such as 127.0.0.1:7331", address)}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return nil, &UsageError{fmt.Sprintf("--status-listen %q: the page has no password, so it can only be on loopback, such as 127.0.0.1:7331", address)}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("open the local page: %w", err)
	}
	return l, nil
}

// localPage serves the status: / for people, /status for programs.
func (a *Agent) localPage() http.Handler {
	page := template.Must(template.New("status").Funcs(template.FuncMap{
		"ago":   func(t time.Time) string { return ago(t, time.Now()) },
		"bytes": humanBytes,
	}).Parse(statusPage))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.Status())
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, a.Status())
	})
	return guardLocal(mux)
}

// guardLocal refuses requests that a page of somebody else's had a browser make: their Host is a name, also when that
// name was made to point here.
func guardLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if host != "localhost" && (err != nil || !ip.IsLoopback()) {
			http.Error(w, "this page is for this machine alone", http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// serveLocal serves the page until ctx ends.
func (a *Agent) serveLocal(ctx context.Context, l net.Listener) {
	srv := &http.Server{Handler: a.localPage(), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	path := filepath.Join(a.cfg.Dir, AddressFile)
	if err := os.WriteFile(path, []byte("http://"+l.Addr().String()+"\n"), 0o600); err != nil {
		a.log.Warn("cannot note where the local page is", "problem", err)
	}
	defer os.Remove(path)
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		a.log.Warn("the local page ended", "problem", err)
	}
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	}
	return t.Format("2006-01-02 15:04")
}

// humanBytes takes any of the whole numbers that the status holds.
func humanBytes(n any) string {
	v, unit := reflect.ValueOf(n).Convert(reflect.TypeFor[float64]()).Float(), 0
	for v >= 1024 && unit < 4 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.4g %s", v, [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
}
