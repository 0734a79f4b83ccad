package attack

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// scene is what a program could reach on its machine: a file with a secret, servers that count who comes, and a process
// that waits.
type scene struct {
	t      *testing.T
	folder string
	args   map[string]string
	heard  atomic.Int64 // connections and datagrams that came
}

func newScene(t *testing.T) *scene {
	t.Helper()
	folder, err := os.MkdirTemp("", "scene") //nolint:usetesting // another user must come to it
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	must(t, os.Chmod(folder, 0o777)) //nolint:gosec // that anybody can is what the tests are about
	s := &scene{t: t, folder: folder}
	for _, name := range []string{"secret", "victim"} {
		path := filepath.Join(folder, name)
		must(t, os.WriteFile(path, []byte("a secret of this machine"), 0o600))
		must(t, os.Chmod(path, 0o666)) //nolint:gosec // as above
	}
	s.args = map[string]string{
		"path": filepath.Join(folder, "secret"), "folder": folder, "host": strconv.Itoa(os.Getpid()),
		"unix": filepath.Join(folder, "u"), "unixgram": filepath.Join(folder, "g"), "escape": filepath.Base(folder) + "-escape",
		"abstract": "@" + filepath.Base(folder) + "-u", "abstractgram": "@" + filepath.Base(folder) + "-g", "word": secretWord,
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.args["tcp"] = l.Addr().String()
	s.accept(l)
	for _, path := range []string{s.args["unix"], s.args["abstract"]} {
		l, err := net.Listen("unix", path)
		must(t, err)
		s.accept(l)
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	s.args["udp"] = c.LocalAddr().String()
	s.receive(c)
	for _, path := range []string{s.args["unixgram"], s.args["abstractgram"]} {
		c, err := net.ListenPacket("unixgram", path)
		must(t, err)
		s.receive(c)
	}
	for _, key := range []string{"unix", "unixgram"} {
		must(t, os.Chmod(s.args[key], 0o777)) //nolint:gosec // as above
	}
	_ = unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0) // some machines let nobody trace but parents
	return s
}

func (s *scene) accept(l net.Listener) {
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.heard.Add(1)
			_, _ = conn.Write([]byte("HTTP/1.0 200 OK\r\n\r\nhello"))
			conn.Close()
		}
	}()
}

func (s *scene) receive(c net.PacketConn) {
	s.t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			s.heard.Add(1)
			if from != nil && from.String() != "" {
				_, _ = c.WriteTo(buf[:n], from)
			}
		}
	}()
}

// victim starts a process that only waits.
func (s *scene) victim() int {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(programs, "villain"), "naked", "sleep")
	cmd.Env = []string{"SECRET=" + secretWord}
	must(s.t, cmd.Start())
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// with adds arguments about a process to those of the scene.
func (s *scene) with(pid int, more map[string]string) map[string]string {
	args := maps.Clone(s.args)
	args["pid"], args["victim"], args["signal"], args["n"] = strconv.Itoa(pid), strconv.Itoa(pid), "0", "5000"
	if maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid)); err == nil {
		args["address"], _, _ = strings.Cut(string(maps), "-")
	}
	for k, v := range more {
		args[k] = v
	}
	return args
}
