package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// message is one message of the record plane, see proto/records/PLANE.md, right or wrong.
func message(magic string, length uint32, kind, flags byte, reserved uint16, channel uint32, seq uint64, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(magic), length)
	b = append(b, kind, flags)
	b = binary.LittleEndian.AppendUint16(b, reserved)
	b = binary.LittleEndian.AppendUint32(b, channel)
	b = binary.LittleEndian.AppendUint64(b, seq)
	return append(b, body...)
}

func plain(kind byte, channel uint32, seq uint64, body []byte) []byte {
	return message("PKPL", uint32(len(body)), kind, 0, 0, channel, seq, body)
}

// wrongMessages are what no plugin may write, each a test of its own.
var wrongMessages = map[string]func() []byte{
	// malformed
	"garbage":       func() []byte { return []byte("GET / HTTP/1.1\r\nHost: picket\r\n\r\n............................") },
	"magic":         func() []byte { return message("PKPX", 0, 4, 0, 0, 1, 1, nil) },
	"type":          func() []byte { return plain(99, 1, 1, nil) },
	"flags":         func() []byte { return message("PKPL", 0, 4, 0x80, 0, 1, 1, nil) },
	"reserved":      func() []byte { return message("PKPL", 0, 4, 0, 7, 1, 1, nil) },
	"hello twice":   func() []byte { return plain(1, 0, 0, make([]byte, 12)) },
	"direction":     func() []byte { return plain(6, 1, 1, nil) },
	"ring":          func() []byte { return plain(8, 0, 0, make([]byte, 8)) },
	"bad frame":     func() []byte { return plain(5, 1, 1, append(make([]byte, 8), "this is no frame of samples"...)) },
	"short samples": func() []byte { return plain(5, 1, 1, []byte{1}) },
	"bad result":    func() []byte { return plain(4, 1, 1, []byte("\xff\xff\xff\xff")) },
	// oversized
	"too long":       func() []byte { return message("PKPL", 16<<20+64<<10+1, 4, 0, 0, 1, 1, make([]byte, 1<<20)) },
	"four gigabytes": func() []byte { return message("PKPL", 1<<32-1, 5, 0, 0, 1, 1, make([]byte, 1<<20)) },
	"many samples":   func() []byte { return plain(5, 1, 1, make([]byte, 2<<20)) },
	// out of order
	"unasked result": func() []byte { return plain(4, 1, 1, nil) },
	"result gap":     func() []byte { return plain(4, 1, 77, nil) },
	"sample gap":     func() []byte { return plain(5, 1, 1000, make([]byte, 8)) },
	"channel":        func() []byte { return plain(4, 4711, 1, nil) },
	"no credit":      func() []byte { return plain(5, 1, 1, append([]byte{99, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 100)...)) },
}

// writeAll waits where the other side does not read.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case err == unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 100)
		case err == unix.EINTR:
		case err != nil:
			return err
		default:
			b = b[n:]
		}
	}
	return nil
}

func init() {
	attacks["plane"] = func(j *job) {
		fd, err := strconv.Atoi(recordsPlane)
		if err != nil {
			fd = 1 // naked: whoever reads this sees what would have been sent
		}
		if err := writeAll(fd, wrongMessages[j.args["message"]]()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	attacks["plane-descriptors"] = func(j *job) { giveDescriptors(j, recordsPlane) }
	attacks["broker"] = func(j *job) {
		fd, err := strconv.Atoi(brokerSocket)
		if err != nil {
			fd = 1
		}
		if _, err := unix.Write(fd, wrongRequests[j.args["message"]]()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	attacks["broker-descriptors"] = func(j *job) { giveDescriptors(j, brokerSocket) }
	attacks["broker-flood"] = func(j *job) {
		fd, err := strconv.Atoi(brokerSocket)
		if err != nil {
			fd = 1
		}
		for i := range j.number("n") {
			err := writeAll(fd, fmt.Appendf(nil, `{"id":%d,"op":"dial","network":"tcp","address":"203.0.113.%d:%d"}`+"\n", i+1, i%250, i%60000+1))
			if err != nil {
				break
			}
		}
	}
}

var wrongRequests = map[string]func() []byte{
	"garbage":  func() []byte { return []byte("nonsense\x00\xff") },
	"no id":    func() []byte { return []byte(`{"op":"dial"}`) },
	"negative": func() []byte { return []byte(`{"id":1,"op":"state_put","key":"k","size":-1}`) },
	"long":     func() []byte { return fmt.Appendf(nil, `{"id":1,"op":"open","name":"%05000d"}`, 0) },
	"largest":  func() []byte { return make([]byte, 100<<10) },
	"deep": func() []byte {
		b := []byte(`{"id":1,"op":`)
		for range 30_000 {
			b = append(b, '[')
		}
		return b
	},
}

// answerByHand writes an answer of 200 MiB past the library, which would cut it.
func answerByHand() {
	fd, err := strconv.Atoi(recordsPlane)
	if err != nil {
		return
	}
	if err := writeAll(fd, message("PKPL", 200<<20, 4, 0, 0, 1, 1, make([]byte, 1<<20))); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	time.Sleep(time.Minute) // the host is faster
}

// giveDescriptors fills the host's table with descriptors that it did not ask for.
func giveDescriptors(j *job, socket string) {
	j.try("send descriptors", func() (string, error) {
		fd, err := strconv.Atoi(socket)
		if err != nil {
			return "", err
		}
		null, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
		if err != nil {
			return "", err
		}
		fds := make([]int, 250)
		for i := range fds {
			fds[i] = null
		}
		for range 40 {
			if err := unix.Sendmsg(fd, []byte(`{`), unix.UnixRights(fds...), nil, 0); err != nil {
				return "", err
			}
		}
		return "", nil
	})
}

// beginBadly writes before anything was said.
func beginBadly(mood string) {
	if fd, err := strconv.Atoi(recordsPlane); err == nil && mood == "plane" {
		_, _ = unix.Write(fd, []byte("I speak first, and not as agreed......................................"))
	}
}
