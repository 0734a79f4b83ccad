package agent

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

// Addresses of loopback that nothing else uses.
const scanner, scanned, talker, listener = "127.77.0.1", "127.77.0.2", "127.77.0.5", "127.77.0.4"

// TestHowSoonTheProductsDetectorsSpeak shows ARP spoofing and a scan of ports, live, to the product's own detectors, and says how
// long it takes from the packet to the agent's queue and to the server. It takes two minutes, for the detector of scans waits for
// the end of one: PICKET_LIVE_DETECTION=1.
func TestHowSoonTheProductsDetectorsSpeak(t *testing.T) {
	if os.Geteuid() != 0 || os.Getenv("PICKET_LIVE_DETECTION") == "" {
		t.Skip("needs root and PICKET_LIVE_DETECTION=1")
	}
	buildTraffic(t)
	s := newSite(t)
	flows := []sdk.Permission{{Cap: sdk.CapFlowsRead, Reason: "It judges flows."}}
	neighbours := []sdk.Permission{{Cap: sdk.CapFactsRead, Args: map[string][]string{"kinds": {"arp", "dhcp"}}, Reason: "It judges ARP."}}
	s.registry.Publish(t,
		registrytest.Plugin{ID: "picket/portscan", Version: "1.0.0", Kind: sdk.KindDetector, Process: built(t, "portscan"), Permissions: flows},
		registrytest.Plugin{ID: "picket/spoof", Version: "1.0.0", Kind: sdk.KindDetector, Process: built(t, "spoof"), Permissions: neighbours})
	cfg := s.cfg(t.TempDir())
	cfg.Captures = []Capture{{Config: packetsocket.Config{Interface: "lo", Filter: "arp or net 127.77.0.0/16", RingBytes: 4 << 20}}}
	a, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	queued := map[string]time.Time{}
	put := a.detections[0].found
	a.detections[0].found = func(r traffic.Run, f sdk.Finding) error {
		err := put(r, f)
		mu.Lock()
		defer mu.Unlock()
		queued[f.ID] = time.Now()
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	s.assign(pluginhost.Assignment{Instance: "p", Plugin: "picket/portscan", Version: "1.0.0", Runtime: pluginhost.RuntimeProcess, Grants: flows},
		pluginhost.Assignment{Instance: "a", Plugin: "picket/spoof", Version: "1.0.0", Runtime: pluginhost.RuntimeProcess, Grants: neighbours})
	s.until("both", func() bool { return len(a.detections[0].figures()) == 2 })
	time.Sleep(2 * time.Second) // the worker that gives ARP

	// Scan, spoof meanwhile, and talk until the scan was found.
	var scan time.Time
	for port := 20001; port < 20041; port++ {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(scanner)}}
		if c, err := d.Dial("tcp", net.JoinHostPort(scanned, strconv.Itoa(port))); err == nil {
			c.Close()
		}
		scan = time.Now()
	}
	said := map[string]time.Time{} // by address, when it was taken
	for i := range 100 {
		owner, rival := byte(100+i), byte(i) // cards of their own: what the same two say again is the same finding
		send(t, false, owner, byte(i), byte(i))
		time.Sleep(60 * time.Millisecond) // bridges repeat within 50 ms
		address := net.IPv4(10, 0, 0, byte(i)).String()
		said[address] = time.Now()
		send(t, true, rival, byte(i), 200)
	}
	s.until("the spoofed addresses", func() bool { list, _ := s.found("takeover"); return len(list) >= len(said) })
	s.mu.Lock()
	mu.Lock()
	var toQueue, toServer []time.Duration
	for _, b := range s.batches {
		for _, f := range b.Found.Findings {
			if at, ok := said[f.Dst]; ok && f.Rule == "takeover" {
				toQueue, toServer = append(toQueue, queued[f.ID].Sub(at)), append(toServer, b.at.Sub(at))
			}
		}
	}
	for where, took := range map[string][]time.Duration{"the agent's queue": toQueue, "the server": toServer} {
		slices.Sort(took)
		t.Logf("spoof: from the packet to %s, %d findings: median %s, p95 %s, most %s", where, len(took), took[len(took)/2], took[len(took)*95/100], took[len(took)-1])
	}
	mu.Unlock()
	s.mu.Unlock()
	l, err := net.Listen("tcp4", listener+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			c.Close()
		}
	}()
	for end := scan.Add(3 * time.Minute); ; time.Sleep(time.Second) {
		s.mu.Lock()
		list, _ := s.found("vertical")
		s.mu.Unlock()
		mu.Lock()
		if len(list) > 0 {
			t.Logf("portscan: %s after the last probe in the queue: %s", list[0].Summary, queued[list[0].ID].Sub(scan))
			mu.Unlock()
			break
		}
		mu.Unlock()
		if time.Now().After(end) {
			t.Fatal("the scan was not found")
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(talker)}}
		if c, err := d.Dial("tcp", l.Addr().String()); err == nil {
			c.Close()
		}
	}
}

// built is the program of one of the product's detectors.
func built(t *testing.T, name string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", file, "github.com/picketwatch/picket/plugins/detectors/"+name+"/cmd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// send puts an ARP packet on loopback: a card says that it has an address, asking for a target or telling it.
func send(t *testing.T, reply bool, card, address, target byte) {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	operation := 1
	if reply {
		operation = 2
	}
	to := []byte{255, 255, 255, 255, 255, 255}
	if reply { // to the one who is told, or it is an announcement
		to = []byte{2, 0, 0, 0, 0, target}
	}
	frame := append(to, []byte{2, 0, 0, 0, 0, card, 8, 6, 0, 1, 8, 0, 6, 4, 0, byte(operation)}...)
	frame = append(frame, 2, 0, 0, 0, 0, card, 10, 0, 0, address, 0, 0, 0, 0, 0, 0, 10, 0, 0, target)
	if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: lo.Index}); err != nil {
		t.Fatal(err)
	}
}
