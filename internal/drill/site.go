//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// detectors are those that judge flows and facts without lists or rules of the operator's.
var detectors = []string{"anomaly", "beacon", "botnet", "bruteforce", "dga", "dnssecurity", "exfil", "flood", "lateral", "ot", "policy",
	"portscan", "ransomware", "spoof", "tls", "tunnel"}

// lanes is how many cables the agent captures: as many as it has judged.
const lanes = 4

const serverAddress = "10.254.0.1"

// site is a picketd, an enrolled agent that captures a cable of each lane, and the lanes: bridges that flood every frame to
// every port, as a mirror port hears it.
type site struct {
	name, dir, programs string
	agent               string // its id
	token               string

	mu      sync.Mutex // guards what follows
	running []*process
}

// process is a program that runs in a namespace, in a process group of its own.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex // guards out
	out  bytes.Buffer
}

func newSite(ctx context.Context, programs string) (*site, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("network namespaces need root")
	}
	programs, err := filepath.Abs(programs)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "drill-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // servers that give up their rights read here
		return nil, err
	}
	s := &site{name: fmt.Sprintf("dr%d", os.Getpid()), dir: dir, programs: programs}
	return s, s.raise(ctx)
}

func (s *site) ns(host string) string { return s.name + "-" + host }

// sh runs a line of shell, on the machine itself when host is "".
func (s *site) sh(host, line string) error {
	args := []string{"sh", "-ec", line}
	if host != "" {
		args = append([]string{"ip", "netns", "exec", s.ns(host)}, args...)
	}
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}

// start starts a command on a host. It is stopped with the site, if not before.
func (s *site) start(host, dir string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command("ip", append([]string{"netns", "exec", s.ns(host)}, args...)...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(s.running, p)
	return p, nil
}

// stop ends a process and what it started.
func (p *process) stop() {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig)
		select {
		case <-p.done:
			return
		case <-time.After(5 * time.Second):
		}
	}
}

// said is the end of what a process wrote, with its command.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.out.String()
	return p.cmd.Args[len(p.cmd.Args)-1] + ": " + text[max(0, len(text)-2000):]
}

// Write implements io.Writer for the process's output.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// raise makes the namespaces and starts the programs.
func (s *site) raise(ctx context.Context) error {
	setup := fmt.Sprintf(`ip netns add %[1]s; ip netns add %[2]s; ip -n %[1]s link set lo up; ip -n %[2]s link set lo up
ip -n %[1]s link add eth0 type veth peer name eth0 netns %[2]s; ip -n %[1]s addr add %[3]s/24 dev eth0; ip -n %[2]s addr add 10.254.0.2/24 dev eth0
ip -n %[1]s link set eth0 up; ip -n %[2]s link set eth0 up`, s.ns("srv"), s.ns("wat"), serverAddress)
	captures := "insecure_http: true\ncapture:\n"
	for lane := range lanes {
		hub := s.ns(hub(lane))
		setup += fmt.Sprintf(`
ip netns add %[1]s; ip netns exec %[1]s sysctl -qw net.ipv6.conf.default.disable_ipv6=1
ip -n %[1]s link add br0 type bridge ageing_time 0 mcast_snooping 0; ip -n %[1]s link set br0 up
ip -n %[1]s link add tap type veth peer name lane%[3]d netns %[2]s; ip -n %[1]s link set tap master br0; ip -n %[1]s link set tap up
ip netns exec %[2]s sysctl -qw net.ipv6.conf.lane%[3]d.disable_ipv6=1 net.ipv4.conf.lane%[3]d.arp_ignore=8; ip -n %[2]s link set lane%[3]d up`, hub, s.ns("wat"), lane)
		captures += fmt.Sprintf("  - {interface: lane%d}\n", lane)
	}
	if err := s.sh("", setup); err != nil {
		return err
	}
	server, err := s.start("srv", s.dir, filepath.Join(s.programs, "picketd"), "--dev", "--data", s.path("server"), "--listen", serverAddress+":8080")
	if err != nil {
		return err
	}
	if err := until(ctx, time.Minute, "picketd", func() bool {
		out, err := exec.Command("ip", "netns", "exec", s.ns("srv"), filepath.Join(s.programs, "picket"), "token", "create", "--data", s.path("server"),
			"--role", "ADM", "--name", "drill").Output()
		s.token = strings.TrimSpace(string(out))
		return err == nil && s.get("/api/v1/plugins", nil) == nil
	}); err != nil {
		return fmt.Errorf("%w; it says: %s", err, server.said())
	}
	return s.enrol(ctx, captures)
}

// enrol starts the agent and has the detectors run there.
func (s *site) enrol(ctx context.Context, captures string) error {
	var made struct{ Token string }
	if err := s.call("/api/v1/agents/tokens", `{"name":"watch"}`, &made); err != nil {
		return err
	}
	for name, text := range map[string]string{"agent.yaml": captures, "enrolment": made.Token} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	agent, err := s.start("wat", s.dir, filepath.Join(s.programs, "picket-agent"), "--config", s.path("agent.yaml"), "--server", "http://"+serverAddress+":8080",
		"--data", s.path("agent"), "--token-file", s.path("enrolment"))
	if err != nil {
		return err
	}
	if err := until(ctx, time.Minute, "the agent", func() bool {
		var list struct{ Items []struct{ ID, Name string } }
		_ = s.get("/api/v1/agents", &list)
		for _, a := range list.Items {
			if a.Name == "watch" {
				s.agent = a.ID
			}
		}
		return s.agent != ""
	}); err != nil {
		return fmt.Errorf("%w; it says: %s", err, agent.said())
	}
	for _, d := range append([]string{"dga-names"}, detectors...) {
		body := `{"node":"` + s.agent + `","grants":"all"}`
		if d == "dga-names" {
			body = "{}"
		}
		if err := s.call("/api/v1/plugins/picket/"+d+"/enable", body, nil); err != nil && d != "dga-names" {
			return err
		}
	}
	if err := until(ctx, 2*time.Minute, "the detectors on the agent", func() bool { return s.shown() == lanes*len(detectors) }); err != nil {
		return fmt.Errorf("%w; it says: %s", err, agent.said())
	}
	return nil
}

// shown is how many instances of detectors the agent shows its traffic to.
func (s *site) shown() int {
	st, _ := s.status()
	return len(st.Detections)
}

// agentStatus is what is asked of the agent's own account.
type agentStatus struct {
	Captures   []struct{ Received, Dropped, Packets, Flows, Restarts uint64 }
	Detections []struct {
		Instance string
		Missed   uint64
		Failures uint64
	}
}

func (s *site) status() (st agentStatus, err error) {
	out, err := exec.Command("ip", "netns", "exec", s.ns("wat"), filepath.Join(s.programs, "picket-agent"), "status", "--json", "--data", s.path("agent")).Output()
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(out, &st)
}

// replayed reports whether picket replay makes the detector find again, on the agent's machine, what an alert rests on.
func (s *site) replayed(alert string) bool {
	var detail struct{ Findings []struct{ ID string } }
	if s.get("/api/v1/alerts/"+alert, &detail) != nil {
		return false
	}
	for _, f := range detail.Findings {
		out, err := exec.Command(filepath.Join(s.programs, "picket"), "replay", "--dev", "--json", "--data", s.path("agent"), f.ID).Output()
		var verdict struct {
			Again bool `json:"found_again"`
		}
		if err == nil && json.Unmarshal(out, &verdict) == nil && verdict.Again {
			return true
		}
	}
	return false
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func hub(lane int) string { return fmt.Sprintf("hub%d", lane) }

// close ends everything and leaves nothing.
func (s *site) close() {
	s.mu.Lock()
	all := slices.Clone(s.running)
	s.mu.Unlock()
	for _, p := range slices.Backward(all) {
		p.stop()
	}
	for _, host := range []string{"srv", "wat"} {
		_ = s.sh("", "ip netns del "+s.ns(host))
	}
	for lane := range lanes {
		_ = s.sh("", "ip netns del "+s.ns(hub(lane)))
	}
	_ = os.RemoveAll(s.dir)
}

// until polls, and says what it waited for when that never comes.
func until(ctx context.Context, most time.Duration, what string, check func() bool) error {
	for deadline := time.Now().Add(most); !check(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s", most, what)
		}
		if !pause(ctx, 200*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// pause waits, and reports whether ctx is still on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// get asks the API.
func (s *site) get(path string, into any) error { return s.call(path, "", into) }

// call asks the API from the server's own namespace, with a body when there is one.
func (s *site) call(path, body string, into any) error {
	args := []string{"netns", "exec", s.ns("srv"), "curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "20", "-H", "Authorization: Bearer " + s.token}
	if body != "" {
		args = append(args, "-H", "Content-Type: application/json", "-d", body)
	}
	cmd := exec.Command("ip", append(args, "http://"+serverAddress+":8080"+path)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s %s", path, err, &said, out)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
