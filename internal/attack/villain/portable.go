package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// What needs nothing but Go's library, and so is the same in a process and in a guest.
func init() {
	add(map[string]func(*job){
		"read-file":     readFile,
		"write-file":    writeFile,
		"fill-disk":     fillDisk,
		"fill-state":    fillState,
		"tcp":           tcp,
		"udp":           udp,
		"dns":           dns,
		"unix-socket":   unixSocket,
		"environment":   environment,
		"allocate":      allocate,
		"loop-collect":  func(*job) { loop() },
		"loop-stop":     func(j *job) { j.try("wait for Stop", func() (string, error) { return "", errors.New("not yet") }) },
		"flood-logs":    floodLogs,
		"flood-records": floodRecords,
		"exec":          execute,
		"yes":           func(j *job) { j.try("run", func() (string, error) { return "it runs", nil }) },
		"idle":          func(j *job) { time.Sleep(time.Hour) },
		"nothing":       func(*job) {},
	})
}

func readFile(j *job) {
	path := j.args["path"]
	read := func(name string) func() (string, error) {
		return func() (string, error) {
			b, err := os.ReadFile(name)
			return string(b[:min(len(b), 40)]), err
		}
	}
	j.try("open", read(path))
	j.try("open relative to the working folder", read(strings.Repeat("../", 20)+strings.TrimPrefix(path, "/")))
	j.try("open by way of its own root", read("/proc/self/root"+path))
	j.try("open by way of its own working folder", read("/proc/self/cwd/"+strings.Repeat("../", 20)+strings.TrimPrefix(path, "/")))
	j.try("open by way of process 1", read("/proc/1/root"+path))
	j.try("open by way of the host", read("/proc/"+j.args["host"]+"/root"+path))
	j.try("list its folder", func() (string, error) {
		entries, err := os.ReadDir(j.args["folder"])
		return fmt.Sprint(len(entries)), err
	})
	j.try("list the homes", func() (string, error) { entries, err := os.ReadDir("/home"); return fmt.Sprint(len(entries)), err })
	for _, name := range []string{path, "/etc/shadow", "/proc/self/../.." + path, "/proc/self/root" + path, "/proc/" + j.args["host"] + "/environ", "/sys/../" + path} {
		j.asHost("open "+name, func(h sdk.Host) (string, error) {
			f, err := h.Open(name)
			if err != nil {
				return "", err
			}
			defer f.Close()
			b, err := io.ReadAll(io.LimitReader(f, 40))
			return string(b), err
		})
	}
	more(j, "read-file")
}

// more are the means that only one kind of program has.
func more(j *job, name string) {
	if do := special[name]; do != nil {
		do(j)
	}
}

func writeFile(j *job) {
	folder, path := j.args["folder"], j.args["path"]
	j.try("create", func() (string, error) { return "", os.WriteFile(folder+"/new", []byte("x"), 0o644) })
	j.try("overwrite", func() (string, error) { return "", os.WriteFile(path, []byte("x"), 0o644) })
	j.try("append", func() (string, error) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return "", err
		}
		return "", f.Close()
	})
	j.try("truncate", func() (string, error) { return "", os.Truncate(path, 0) })
	j.try("make a folder", func() (string, error) { return "", os.Mkdir(folder+"/d", 0o755) })
	j.try("link", func() (string, error) { return "", os.Link(path, folder+"/l") })
	j.try("symlink", func() (string, error) { return "", os.Symlink(path, folder+"/s") })
	j.try("rename", func() (string, error) { return "", os.Rename(path, folder+"/r") })
	j.try("remove", func() (string, error) { return "", os.Remove(folder + "/victim") })
	j.try("change the mode", func() (string, error) { return "", os.Chmod(folder, 0o777) })
	j.try("create by way of process 1", func() (string, error) {
		return "", os.WriteFile("/proc/1/root"+folder+"/new1", []byte("x"), 0o644)
	})
	j.try("create by way of the host", func() (string, error) {
		return "", os.WriteFile("/proc/"+j.args["host"]+"/root"+folder+"/new2", []byte("x"), 0o644)
	})
	for _, dir := range []string{"/", "/etc", "/usr", "/dev", "/etc/ssl/certs"} {
		if j.host == nil {
			continue // this machine is still needed
		}
		j.try("create in "+dir, func() (string, error) { return "", os.WriteFile(dir+"/villain", []byte("x"), 0o644) })
	}
	more(j, "write-file")
}

// fillDisk succeeds with more than 64 MiB in all.
func fillDisk(j *job) {
	folders := []string{j.args["folder"]}
	if j.host != nil {
		folders = append(folders, "/tmp", "/var/tmp", "/dev/shm", "/run", "", j.args["sockets"])
	}
	j.try("write files", func() (string, error) {
		block, total := make([]byte, 1<<20), 0
		_, _ = rand.Read(block)
		for _, dir := range folders {
			for i := range 100 {
				name := dir + "/fill" + strconv.Itoa(i)
				err := os.WriteFile(name, block, 0o644)
				if info, statErr := os.Stat(name); statErr == nil {
					total += int(info.Size())
				}
				if err != nil {
					break
				}
			}
			for i := range 100 {
				if j.host == nil { // confined it keeps what it took
					os.Remove(dir + "/fill" + strconv.Itoa(i))
				}
			}
		}
		text := fmt.Sprintf("%d MiB", total>>20)
		if total < 64<<20 {
			return "", errors.New("no more than " + text)
		}
		return text, nil
	})
}

// fillState succeeds with more than 20 MiB in all, a long key or a large value.
func fillState(j *job) {
	if j.host == nil {
		fillDisk(j)
		return
	}
	j.asHost("store many values", func(h sdk.Host) (string, error) {
		value := make([]byte, 1<<20)
		for i := range 20 {
			if err := h.State().Put("key"+strconv.Itoa(i), value); err != nil {
				return "", fmt.Errorf("after %d MiB: %w", i, err)
			}
		}
		return "20 MiB", nil
	})
	j.asHost("store a large value", func(h sdk.Host) (string, error) { return "", h.State().Put("large", make([]byte, 2<<20)) })
	j.asHost("store under a long key", func(h sdk.Host) (string, error) { return "", h.State().Put(strings.Repeat("k", 4000), []byte("x")) })
	j.asHost("store under a path", func(h sdk.Host) (string, error) {
		if err := h.State().Put("../../"+j.args["escape"], []byte("x")); err != nil {
			return "", err
		}
		return "", errors.New("stored, but not there") // the test looks for it
	})
}

func talk(conn net.Conn, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience / 2)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		return "", err
	}
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

func (j *job) dialAll(network string, targets ...string) {
	for _, to := range targets {
		if to == "" {
			continue
		}
		j.try("dial "+network, func() (string, error) { return talk(net.DialTimeout(network, to, patience/2)) })
		j.asHost("dial "+network+" "+to, func(h sdk.Host) (string, error) {
			ctx, cancel := context.WithTimeout(context.Background(), patience/2)
			defer cancel()
			return talk(h.Dial(ctx, network, to))
		})
	}
}

func tcp(j *job) {
	_, port, _ := net.SplitHostPort(j.args["tcp"])
	j.dialAll("tcp", j.args["tcp"], "localhost:"+port)
	j.try("listen", func() (string, error) {
		if runtime.GOOS == "wasip1" {
			return "", errors.New("a guest's library only plays a network, inside of the guest")
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		return l.Addr().String(), l.Close()
	})
	j.asHost("listen", func(h sdk.Host) (string, error) {
		l, err := h.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		return "", l.Close()
	})
	j.asHost("fetch", func(h sdk.Host) (string, error) {
		r, err := h.Fetch(context.Background(), sdk.Request{URL: "http://" + j.args["tcp"] + "/"})
		return fmt.Sprint(r.Status), err
	})
	more(j, "tcp")
}

func udp(j *job) {
	_, port, _ := net.SplitHostPort(j.args["udp"])
	j.dialAll("udp", j.args["udp"], "localhost:"+port)
	j.asHost("listen", func(h sdk.Host) (string, error) {
		l, err := h.ListenPacket(context.Background(), "udp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		return "", l.Close()
	})
	more(j, "udp")
}

// dns asks a name server of the test, which hears whatever gets out.
func dns(j *job) {
	server := j.args["udp"]
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server)
	}}
	ask := func(r *net.Resolver, name string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience/2)
		defer cancel()
		addrs, err := r.LookupHost(ctx, name)
		return strings.Join(addrs, " "), err
	}
	j.try("ask a name server", func() (string, error) { return ask(r, "secret.attack.test.") })
	if j.host != nil {
		j.try("ask the system's", func() (string, error) { return ask(net.DefaultResolver, "secret.attack.test.") })
	}
	// The host must refuse a name that no grant covers without asking anybody for it: the name itself may carry data.
	for _, name := range []string{"secret.attack.test:80", "secret.attack.test.:443"} {
		j.asHost("dial "+name, func(h sdk.Host) (string, error) {
			ctx, cancel := context.WithTimeout(context.Background(), patience/2)
			defer cancel()
			return talk(h.Dial(ctx, "tcp", name))
		})
	}
	j.dialAll("udp", server)
	more(j, "dns")
}

func unixSocket(j *job) {
	j.dialAll("unix", j.args["unix"], j.args["abstract"])
	more(j, "unix-socket")
}

// environment looks for a word that only the host's environment has.
func environment(j *job) {
	find := func(text string) (string, error) {
		if !strings.Contains(text, j.args["word"]) {
			return "", errors.New("it is not there")
		}
		return "there", nil
	}
	j.try("its own", func() (string, error) { return find(strings.Join(append(os.Environ(), os.Args...), " ")) })
	for _, pid := range []string{"self", "1", j.args["host"], j.args["victim"], "thread-self"} {
		j.try("environ of "+pid, func() (string, error) {
			b, err := os.ReadFile("/proc/" + pid + "/environ")
			if err != nil {
				return "", err
			}
			return find(string(b))
		})
	}
	j.asHost("open environ", func(h sdk.Host) (string, error) {
		f, err := h.Open("/proc/" + j.args["host"] + "/environ")
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil {
			return "", err
		}
		return find(string(b))
	})
}

var kept [][]byte

func allocate(j *job) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(1 << 50)
	j.work("take memory", func() (string, error) {
		for range 400 {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
		return "400 MiB", nil
	})
	more(j, "allocate")
}

func floodLogs(j *job) {
	const lines = 100_000
	j.work("write lines", func() (string, error) {
		for i := range lines {
			fmt.Fprintf(os.Stderr, "flood %d %s\n", i, strings.Repeat("x", 100))
			if j.host != nil && i%10 == 0 {
				j.host.Log().Error("flood", "n", i)
			}
		}
		return strconv.Itoa(lines), nil
	})
}

func floodRecords(j *job) {
	const n = 50_000
	j.try("emit samples", func() (string, error) {
		s := sdk.Sample{Metric: "attack.flood", Type: sdk.Gauge, Time: time.Now(), Labels: map[string]string{"x": strings.Repeat("y", 100)}}
		for range n {
			if err := j.sink(s); err != nil {
				return "", err
			}
		}
		return strconv.Itoa(n), nil
	})
}

func execute(j *job) {
	j.try("run a program", func() (string, error) {
		out, err := exec.Command("/bin/true").CombinedOutput()
		return string(out), err
	})
	self := "/proc/self/exe"
	j.try("run itself", func() (string, error) {
		out, err := exec.Command(self, "naked", "yes").CombinedOutput()
		return string(out), err
	})
	more(j, "exec")
}
