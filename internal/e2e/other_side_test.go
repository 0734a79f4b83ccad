package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// gitea is a small ticket service in the shape of Gitea's interface, version 1, as far as a program needs it that opens,
// reads, comments on and closes issues. It is not Gitea.
type gitea struct {
	*httptest.Server

	mu     sync.Mutex // guards the rest
	down   bool
	issues []*giteaIssue
}

type giteaIssue struct {
	Number   int      `json:"number"`
	Title    string   `json:"title"`
	Body     string   `json:"body"`
	State    string   `json:"state"`
	HTMLURL  string   `json:"html_url"`
	Comments []string `json:"-"`
}

func newGitea(t *testing.T) *gitea {
	t.Helper()
	g := &gitea{}
	const issues = "/api/v1/repos/network/incidents/issues"
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+issues, func(w http.ResponseWriter, r *http.Request) {
		i := &giteaIssue{Number: len(g.issues) + 1, State: "open"}
		i.HTMLURL = fmt.Sprintf("%s/network/incidents/issues/%d", g.URL, i.Number)
		if json.NewDecoder(r.Body).Decode(i) != nil || i.Title == "" {
			http.Error(w, `{"message":"[Title]: Required"}`, http.StatusUnprocessableEntity)
			return
		}
		g.issues = append(g.issues, i)
		answer(w, http.StatusCreated, i)
	})
	mux.HandleFunc("GET "+issues, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("page") != "1" {
			answer(w, http.StatusOK, []*giteaIssue{})
			return
		}
		answer(w, http.StatusOK, g.issues)
	})
	one := func(do func(w http.ResponseWriter, r *http.Request, i *giteaIssue)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var n int
			if _, err := fmt.Sscan(r.PathValue("n"), &n); err != nil || n < 1 || n > len(g.issues) {
				http.Error(w, `{"message":"The target couldn't be found."}`, http.StatusNotFound)
				return
			}
			do(w, r, g.issues[n-1])
		}
	}
	mux.HandleFunc("GET "+issues+"/{n}", one(func(w http.ResponseWriter, _ *http.Request, i *giteaIssue) { answer(w, http.StatusOK, i) }))
	mux.HandleFunc("PATCH "+issues+"/{n}", one(func(w http.ResponseWriter, r *http.Request, i *giteaIssue) {
		_ = json.NewDecoder(r.Body).Decode(i)
		answer(w, http.StatusCreated, i)
	}))
	mux.HandleFunc("POST "+issues+"/{n}/comments", one(func(w http.ResponseWriter, r *http.Request, i *giteaIssue) {
		var c struct{ Body string }
		_ = json.NewDecoder(r.Body).Decode(&c)
		i.Comments = append(i.Comments, c.Body)
		answer(w, http.StatusCreated, map[string]any{"id": len(i.Comments), "body": c.Body})
	}))
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		switch {
		case g.down:
			http.Error(w, "bad gateway", http.StatusBadGateway)
		case r.Header.Get("Authorization") != "token a-token":
			http.Error(w, `{"message":"token is required"}`, http.StatusUnauthorized)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(g.Close)
	return g
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// do lets somebody work in the ticket system.
func (g *gitea) do(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

func (g *gitea) tickets() []giteaIssue {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []giteaIssue
	for _, i := range g.issues {
		out = append(out, *i)
	}
	return out
}

// opnsense speaks OPNsense's interface for the content of one alias. Behind it is a packet filter: nftables in a network
// of its own where this machine has it, a list in memory otherwise. It is not OPNsense.
type opnsense struct {
	*httptest.Server
	filter filter
}

// filter is what blocks.
type filter interface {
	blocked() []string
	change(what string, a netip.Addr) error
	// passes reports whether a machine outside can reach one inside.
	passes(from, to string) bool
}

func newOPNsense(t *testing.T) *opnsense {
	t.Helper()
	f := &opnsense{filter: newFilter(t)}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); user != "a-key" || pass != "a-secret" {
			http.Error(w, `{"status":401,"message":"Authentication Failed"}`, http.StatusUnauthorized)
			return
		}
		action, alias, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/firewall/alias_util/"), "/")
		if alias != "picket_blocked" {
			fmt.Fprint(w, `[]`)
			return
		}
		if action == "list" {
			rows := []map[string]string{}
			for _, a := range f.filter.blocked() {
				rows = append(rows, map[string]string{"ip": a})
			}
			answer(w, http.StatusOK, map[string]any{"total": len(rows), "rowCount": -1, "current": 1, "rows": rows})
			return
		}
		var in struct {
			Address netip.Addr `json:"address"`
		}
		status := "done"
		if json.NewDecoder(r.Body).Decode(&in) != nil || f.filter.change(action, in.Address) != nil {
			status = "failed"
		}
		answer(w, http.StatusOK, map[string]string{"status": status})
	}))
	t.Cleanup(f.Close)
	return f
}

func newFilter(t *testing.T) filter {
	t.Helper()
	n, err := newNetwork()
	if err != nil {
		t.Logf("the firewall's double blocks nothing but in its own memory: %v", err)
		return &memory{}
	}
	t.Cleanup(n.close)
	t.Log("the firewall's double blocks with nftables, in a network of its own")
	return n
}

type memory struct {
	mu   sync.Mutex // guards list
	list []string
}

func (m *memory) blocked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.list...)
}

func (m *memory) change(what string, a netip.Addr) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	left := m.list[:0:0]
	for _, one := range m.list {
		if one != a.String() {
			left = append(left, one)
		}
	}
	if what == "add" {
		left = append(left, a.String())
	}
	m.list = left
	return nil
}

func (m *memory) passes(from, _ string) bool {
	for _, a := range m.blocked() {
		if a == from {
			return false
		}
	}
	return true
}

// network is a network namespace with nftables in it. One thread lives there and does what is to be done.
type network struct {
	work chan func()
	done chan struct{}
}

func newNetwork() (*network, error) {
	nft, err := exec.LookPath("nft")
	if err != nil {
		return nil, err
	}
	n := &network{work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		defer close(n.done)
		runtime.LockOSThread() // and never let go: the thread ends with this function, and the network with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- err
			return
		}
		for _, c := range [][]string{
			{"ip", "link", "set", "lo", "up"}, {"ip", "address", "add", inside + "/32", "dev", "lo"}, {"ip", "address", "add", outside + "/32", "dev", "lo"},
			{nft, "add table inet picket"}, {nft, "add set inet picket blocked { type ipv4_addr; }"},
			{nft, "add chain inet picket input { type filter hook input priority 0; policy accept; }"},
			{nft, "add rule inet picket input ip saddr @blocked counter drop"},
		} {
			if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
				ready <- fmt.Errorf("%v: %w: %s", c, err, out)
				return
			}
		}
		ready <- nil
		for f := range n.work {
			f()
		}
	}()
	return n, <-ready
}

func (n *network) close() {
	close(n.work)
	<-n.done
}

// there does something in the network and waits for it.
func (n *network) there(f func()) {
	end := make(chan struct{})
	n.work <- func() { defer close(end); f() }
	<-end
}

func (n *network) nft(args ...string) (out []byte, err error) {
	n.there(func() { out, err = exec.Command("nft", args...).CombinedOutput() })
	return out, err
}

func (n *network) blocked() []string {
	out, err := n.nft("-j", "list set inet picket blocked")
	var doc struct {
		Nftables []struct {
			Set struct {
				Elem []string `json:"elem"`
			} `json:"set"`
		} `json:"nftables"`
	}
	if err != nil || json.Unmarshal(out, &doc) != nil {
		return []string{"nft failed: " + string(out)}
	}
	for _, x := range doc.Nftables {
		if len(x.Set.Elem) > 0 {
			return x.Set.Elem
		}
	}
	return nil
}

func (n *network) change(what string, a netip.Addr) error {
	if what == "delete" {
		if out := n.blocked(); len(out) == 0 {
			return nil // as OPNsense, which takes out what is not there
		}
	}
	_, err := n.nft(what + " element inet picket blocked { " + a.String() + " }")
	return err
}

// passes sends a datagram and looks whether it arrived. On loopback it is there, or dropped, before send returns.
func (n *network) passes(from, to string) (arrived bool) {
	n.there(func() {
		receiver, err := udpSocket(to)
		if err != nil {
			return
		}
		defer unix.Close(receiver)
		sender, err := udpSocket(from)
		if err != nil {
			return
		}
		defer unix.Close(sender)
		at, err := unix.Getsockname(receiver)
		if err != nil || unix.Sendto(sender, []byte("hello"), 0, at) != nil {
			return
		}
		size, _, err := unix.Recvfrom(receiver, make([]byte, 16), unix.MSG_DONTWAIT)
		arrived = err == nil && size == 5
	})
	return arrived
}

func udpSocket(address string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddr(address).As4()}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
