package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/klauspost/compress/s2"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/worker"
	"github.com/picketwatch/picket/sdk"
)

// This file makes the villain a picket-traffic with a hole in one of its parsers: it reads the capture it was handed with
// the engine of the real one, and a packet that is too long for a buffer says which code runs next. What follows is what
// somebody who found such a hole would do.

// roomInParser is what the parser with the hole has room for.
const roomInParser = 64

// parser is the hole: behind the buffer lies what is called with the packet.
type parser struct {
	buffer [roomInParser]byte
	next   uint64
}

// handlers are what a parser may call; the second one the packets choose who know of the hole.
var handlers = [2]func(payload []byte){func([]byte) {}, shellcode}

// Packet copies the payload without a look at its length.
func (p *parser) Packet(_ *capture.Packet, d *decode.Packet) error {
	if len(d.Body) < roomInParser+8 || string(d.Body[:5]) != "hole:" {
		return nil
	}
	for i := range roomInParser + 8 {
		*(*byte)(unsafe.Add(unsafe.Pointer(&p.buffer), i)) = d.Body[i]
	}
	handlers[p.next](d.Body[roomInParser+8:])
	return nil
}

func (p *parser) Member(uint64, uint64, uint64, app.Dir) error { return nil }
func (p *parser) Lost(uint64)                                  {}

// shellcode runs the attack that the packet names and tells what became of it, by the way that the worker has: its
// messages.
func shellcode(payload []byte) {
	var order struct {
		Attack string
		Args   map[string]string
	}
	if err := json.Unmarshal(payload, &order); err != nil {
		panic(err)
	}
	j := &job{args: order.Args, sink: func(sdk.Sample) error { return nil }}
	if order.Args["naked"] == "" {
		j.host = noHost{}
	}
	attacks[order.Attack](j)
	text, err := json.Marshal(j.attempts)
	if err != nil {
		panic(err)
	}
	tell(worker.KindFrame, s2.Encode(nil, text))
}

func tell(kind byte, body []byte) {
	message := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	if _, err := unix.Write(4, append(append(message, kind), body...)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// beWorker reads the capture at descriptor 3. It ends with the process.
func beWorker() {
	sum, err := traffic.AnalyzeOpen(context.Background(), os.NewFile(3, "capture"), traffic.Options{Follower: &parser{}}, nil, func([]sdk.Flow) error { return nil })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	text, _ := json.Marshal(worker.Done{Packets: sum.Packets, LinkTypes: []int{}}) // numbers
	tell(worker.KindDone, text)
	os.Exit(0)
}

func init() {
	add(map[string]func(*job){"inherited": inherited, "server": server})
}

// inherited goes for what the worker was started with.
func inherited(j *job) {
	j.try("write to the capture", func() (string, error) { _, err := unix.Pwrite(3, []byte("x"), 0); return "", err })
	j.try("truncate the capture", func() (string, error) { return "", unix.Ftruncate(3, 0) })
	j.try("open the capture again for writing", func() (string, error) {
		fd, err := unix.Open("/proc/self/fd/3", unix.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		_, err = unix.Pwrite(fd, []byte("x"), 0)
		return "", err
	})
	j.try("change the mode of the capture", func() (string, error) { return "", unix.Fchmod(3, 0o666) })
	j.try("change the owner of the capture", func() (string, error) { return "", unix.Fchown(3, os.Getuid(), os.Getgid()) })
	j.try("mark the capture", func() (string, error) { return "", unix.Fsetxattr(3, "user.villain", []byte("x"), 0) })
	j.try("set the time of the capture", func() (string, error) { return "", unix.Futimes(3, make([]unix.Timeval, 2)) })
	j.try("map the capture for writing", func() (string, error) {
		_, err := unix.Mmap(3, 0, 1, unix.PROT_WRITE, unix.MAP_SHARED)
		return "", err
	})
	j.try("read what others wrote to the messages", func() (string, error) {
		fd, err := unix.Open("/proc/self/fd/4", unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return "", err
		}
		return "", unix.Close(fd)
	})
	j.try("use another descriptor", func() (string, error) {
		for fd := range 1024 {
			link, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
			if err != nil || fd <= 4 || strings.HasPrefix(link, "anon_inode:") {
				continue // its own: what Go waits with
			}
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				return fmt.Sprintf("%d is %s", fd, link), nil
			}
		}
		return "", errors.New("there is none")
	})
}

// server goes for what the server keeps: its data, its keys, its memory and its life.
func server(j *job) {
	host := j.args["host"]
	for _, name := range strings.Split(j.args["files"], ":") {
		for _, by := range []string{"", "/proc/" + host + "/root", "/proc/" + host + "/cwd/../../../../../../..", "/proc/1/root"} {
			j.try("read "+by+" "+filepath.Base(name), func() (string, error) {
				b, err := os.ReadFile(by + name)
				return string(b[:min(len(b), 20)]), err
			})
		}
	}
	for _, what := range []string{"environ", "mem", "maps", "cmdline", "exe", "fd", "cwd", "task"} {
		j.try("open "+what+" of the server", func() (string, error) {
			fd, err := unix.Open("/proc/"+host+"/"+what, unix.O_RDONLY, 0)
			if err != nil {
				return "", err
			}
			return "", unix.Close(fd)
		})
	}
	j.try("a descriptor of the server", func() (string, error) {
		pid, err := unix.PidfdOpen(j.number("host"), 0)
		if err != nil {
			return "", err
		}
		fd, err := unix.PidfdGetfd(pid, 0, 0)
		if err != nil {
			return "", err
		}
		return "", unix.Close(fd)
	})
	j.try("signal the server", func() (string, error) { return "", unix.Kill(j.number("host"), 0) })
	j.try("signal its parent", func() (string, error) {
		if os.Getppid() == 0 {
			return "", errors.New("it has none")
		}
		return "", unix.Kill(os.Getppid(), 0)
	})
}
