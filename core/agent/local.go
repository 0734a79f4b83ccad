package agent

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/picketwatch/picket/core/agent/logbook"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
)

//go:embed status.html
var statusPage string

//go:embed live.js
var liveScript string

// AddressFile names the file in the data folder that says where the page of a running agent is.
const AddressFile = "status-address"

// LogFolder is where in the data folder the log lies.
const LogFolder = "logs"

// listen opens the local page, which must be on loopback. When the port is taken it is on another: an agent does not fail for its page.
func listen(address string, log *slog.Logger) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &UsageError{fmt.Sprintf("--status-listen %q: want an address such as 127.0.0.1:7331", address)}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return nil, &UsageError{fmt.Sprintf("--status-listen %q: the page is for this machine alone, so it can only be on loopback, such as 127.0.0.1:7331", address)}
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err == nil {
			log.Warn("the port of the local page is in use, it is on another", "wanted", address, "address", l.Addr())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the local page: %w", err)
	}
	return l, nil
}

// view is what the page shows.
type view struct {
	Status
	Page       string // status, plugins or log
	Known      bool
	Health     health
	Rounds     map[string]string // by instance: the last error of its rounds
	MayRestart bool
	Lines      []logbook.Line
	Level      string
	Text       string
}

// health says in few words whether this agent does its work.
type health struct {
	Status  string `json:"status"` // ok or degraded
	Version string `json:"version"`
	Problem string `json:"problem,omitempty"`
}

// contactLate is after how long without the server an agent is not well.
const contactLate = 2 * time.Minute

func (a *Agent) health(st Status) health {
	h := health{Status: "ok", Version: config.Version}
	failing := 0
	for _, p := range st.Plugins {
		switch p.State {
		case pluginhost.Degraded, pluginhost.Backoff, pluginhost.Quarantined, pluginhost.Revoked, pluginhost.Refused:
			failing++
		}
	}
	switch {
	case time.Since(st.LastContact) > contactLate && time.Since(st.Started) > contactLate:
		h.Problem = "the server does not answer; what is measured waits in the queue"
	case st.ConfigRejected != nil:
		h.Problem = "the newest configuration cut this agent off and was taken back"
	case failing > 0:
		h.Problem = fmt.Sprintf("%d plugins do not work", failing)
	default:
		return h
	}
	h.Status = "degraded"
	return h
}

// localPage serves what is known here: /health to everybody on this machine; /, /plugins and /log for people, /status and /metrics for
// programs, all of them the owner's.
func (a *Agent) localPage() http.Handler {
	page := template.Must(template.New("status").Funcs(template.FuncMap{
		"ago":   func(t time.Time) string { return ago(t, time.Now()) },
		"bytes": humanBytes,
		"warns": func(l logbook.Line) bool { return l.Level >= slog.LevelWarn },
		"clock": func(t time.Time) string { return t.Local().Format("01-02 15:04:05") },
	}).Parse(statusPage))
	mux := http.NewServeMux()
	show := func(w http.ResponseWriter, r *http.Request, name string) {
		v := view{Page: name, Status: a.Status()}
		v.Health = a.health(v.Status)
		known, fresh := a.owner.known(r)
		v.Known, v.MayRestart = known, fresh && a.cfg.Restarts
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if !known {
			v = view{Page: name, Health: v.Health}
			w.WriteHeader(http.StatusUnauthorized)
		} else if err := v.fill(r, a.cfg.Dir); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = page.Execute(w, v)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { show(w, r, "status") })
	mux.HandleFunc("GET /plugins", func(w http.ResponseWriter, r *http.Request) { show(w, r, "plugins") })
	mux.HandleFunc("GET /log", func(w http.ResponseWriter, r *http.Request) { show(w, r, "log") })
	mux.HandleFunc("GET /live.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = io.WriteString(w, liveScript)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		h := a.health(a.Status())
		w.Header().Set("Content-Type", "application/json")
		if h.Status != "ok" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(h)
	})
	owners := func(pattern string, do http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if known, _ := a.owner.known(r); !known {
				a.owner.refuse(w, r.Header.Get("Authorization") != "")
				return
			}
			do(w, r)
		})
	}
	owners("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.Status())
	})
	owners("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		writeMetrics(w, a.Status())
	})
	owners("POST /code", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" { // a session that gave itself the next one would never end
			a.owner.refuse(w, false)
			return
		}
		_, _ = io.WriteString(w, a.owner.code())
	})
	mux.HandleFunc("GET /open", func(w http.ResponseWriter, r *http.Request) {
		id, ok := a.owner.open(r.FormValue("code"))
		if !ok {
			a.owner.refuse(w, true)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: a.owner.cookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	owners("POST /restart", func(w http.ResponseWriter, r *http.Request) {
		switch _, fresh := a.owner.known(r); {
		case !a.cfg.Restarts:
			http.Error(w, "this agent cannot start itself again on this system: use its service", http.StatusConflict)
		case !fresh:
			http.Error(w, "open the page again to show that it is still you: picket-agent open", http.StatusForbidden)
		default:
			a.log.Warn("the owner starts the agent again from the local page")
			http.Redirect(w, r, "/", http.StatusSeeOther)
			a.endWith(ErrRestart)
		}
	})
	return guardLocal(http.NewCrossOriginProtection().Handler(mux))
}

// mostLines is how many lines of the log the page shows.
const mostLines = 500

func (v *view) fill(r *http.Request, dir string) (err error) {
	v.Rounds = map[string]string{}
	for _, c := range v.Collections {
		v.Rounds[c.Name] = c.Error
	}
	for _, d := range v.Discoveries {
		v.Rounds[d.Name] = d.Error
	}
	if v.Page != "log" {
		return nil
	}
	v.Level, v.Text = r.FormValue("level"), r.FormValue("q")
	level := slog.LevelDebug
	if v.Level != "" && level.UnmarshalText([]byte(v.Level)) != nil {
		v.Level = ""
	}
	v.Lines, err = logbook.Search(filepath.Join(dir, LogFolder), logbook.Query{Level: level, Text: v.Text, Most: mostLines})
	return err
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
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// serveLocal serves the page until ctx ends.
func (a *Agent) serveLocal(ctx context.Context, l net.Listener) {
	srv := &http.Server{Handler: a.localPage(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	path := filepath.Join(a.cfg.Dir, AddressFile)
	if err := os.WriteFile(path, []byte("http://"+l.Addr().String()+"\n"), 0o600); err != nil {
		a.log.Warn("cannot note where the local page is", "problem", err)
	}
	defer os.Remove(path)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) // for the answer to who asked for the end
		defer cancel()
		_ = srv.Shutdown(ctx)
		srv.Close()
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		a.log.Warn("the local page ended", "problem", err)
	}
}

// Ask asks the running agent of a data folder as its owner.
func Ask(ctx context.Context, dir, method, path string) (address string, answer []byte, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, AddressFile))
	if errors.Is(err, os.ErrPermission) {
		return "", nil, fmt.Errorf("the data folder %s is another user's: run this as the user that the agent runs as", dir)
	}
	if err != nil {
		return "", nil, fmt.Errorf("no agent runs on the data folder %s", dir)
	}
	key, err := os.ReadFile(filepath.Join(dir, KeyFile))
	if err != nil {
		return "", nil, fmt.Errorf("the key of the local page: %w", err)
	}
	address = strings.TrimSpace(string(raw))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address+path, nil)
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, fmt.Errorf("the agent of %s does not answer: it may have been killed", dir)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", nil, fmt.Errorf("the agent of %s answers %s", dir, resp.Status)
	}
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return address, answer, err
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

// writeMetrics writes the status for Prometheus.
func writeMetrics(w io.Writer, st Status) {
	one := func(name, kind, help string, v float64) {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %g\n", name, help, name, kind, name, v)
	}
	one("picket_agent_queue_batches", "gauge", "Batches that wait to be sent.", float64(st.Queue.Depth))
	one("picket_agent_queue_bytes", "gauge", "What the queue takes on disk.", float64(st.Queue.Bytes))
	one("picket_agent_queue_dropped_rows_total", "counter", "Rows that the queue had no room for.", float64(st.Queue.Dropped))
	one("picket_agent_sent_batches_total", "counter", "Batches that the server has acknowledged.", float64(st.Sending.Sent))
	one("picket_agent_rejected_batches_total", "counter", "Batches that the server will never take.", float64(st.Sending.Rejected))
	one("picket_agent_clock_skew_seconds", "gauge", "How far the clock is ahead of the server's, 0 while that is tolerable.", -st.ClockOffset)
	if !st.LastContact.IsZero() {
		one("picket_agent_last_contact_timestamp_seconds", "gauge", "When the server last answered.", float64(st.LastContact.UnixMilli())/1000)
	}
	label := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	each := func(name, kind, help string, of func(pluginhost.Status) float64) {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
		for _, p := range st.Plugins {
			fmt.Fprintf(w, "%s{instance=\"%s\",plugin=\"%s\"} %g\n", name, label.Replace(p.Instance), label.Replace(p.Plugin), of(p))
		}
	}
	each("picket_agent_plugin_ready", "gauge", "1 while the instance works.", func(p pluginhost.Status) float64 {
		if p.State == pluginhost.Ready {
			return 1
		}
		return 0
	})
	each("picket_agent_plugin_cpu_seconds_total", "counter", "Processor time of the instance.", func(p pluginhost.Status) float64 { return p.Ledger.CPUSeconds })
	each("picket_agent_plugin_memory_bytes", "gauge", "Memory of the instance.", func(p pluginhost.Status) float64 { return float64(p.Ledger.MemoryBytes) })
	each("picket_agent_plugin_restarts_total", "counter", "Starts after the first.", func(p pluginhost.Status) float64 { return float64(p.Restarts) })
}
