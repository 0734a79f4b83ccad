// Package capturecmd is the command `picket capture`: the packets of an interface into a file. It writes them as they come and
// understands nothing of them, since to open the interface it needs rights that whoever parses packets should not have.
package capturecmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/internal/packetsocket"
)

// options are what the command line says.
type options struct {
	socket packetsocket.Config
	file   string
	most   uint64        // packets, 0 for no bound
	during time.Duration // 0 for no end
}

// New returns the command.
func New() *cobra.Command {
	var o options
	ring := "32MiB"
	var snapLen int64
	cmd := &cobra.Command{
		Use:   "capture -i INTERFACE -w FILE [FILTER]",
		Short: "Write the packets of an interface into a file",
		Long: `Write the packets of an interface into a file, a pcap with nanoseconds, until Ctrl-C. Filters are written as for
tcpdump and run by the kernel. At the end it says how many packets the kernel had to drop.

To capture needs root, or the capability CAP_NET_RAW. To analyse what passes needs neither: pipe it, with "-" for FILE.`,
		Example: "  sudo picket capture -i eth0 -w eth0.pcap not port 22\n  sudo picket capture -i eth0 --for 60s -w - | picket analyze -",
		RunE: func(cmd *cobra.Command, filter []string) error {
			o.socket.Filter = strings.Join(filter, " ")
			var size config.Bytes
			if err := size.UnmarshalText([]byte(ring)); err != nil {
				return usage.Errorf("--ring: %v", err)
			}
			o.socket.RingBytes = int(size)
			if snapLen < 0 || snapLen > maxSnapLen {
				return usage.Errorf("--snaplen %d: give a number of bytes from 1 to %d, or leave it out to have all of each packet", snapLen, maxSnapLen)
			}
			o.socket.SnapLen = uint32(snapLen)
			if err := packetsocket.Check(o.socket); err != nil {
				return usage.Errorf("%v", err)
			}
			if o.during < 0 {
				return usage.Errorf("--for %s: it would be over before it begins", o.during)
			}
			return run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.socket.Interface, "interface", "i", "", "the interface")
	f.StringVarP(&o.file, "write", "w", "", `the file, "-" for standard output`)
	f.Int64VarP(&snapLen, "snaplen", "s", 0, "so many bytes of each packet (default all)")
	f.Uint64VarP(&o.most, "count", "c", 0, "end after so many packets")
	f.DurationVar(&o.during, "for", 0, "end after a while, for example 60s")
	f.BoolVar(&o.socket.Promiscuous, "promiscuous", false, "take packets for other stations, too")
	f.StringVar(&ring, "ring", ring, "memory in which packets wait")
	for _, name := range []string{"interface", "write"} {
		_ = cmd.MarkFlagRequired(name) // they are there
	}
	return cmd
}

// source is where packets come from.
type source interface {
	// next returns one that is valid until the next call, errTick when it is time to write out what came, and io.EOF at the end.
	next() (packet, error)
	rawIP() bool
	counts() packetsocket.Counts
	gone() bool
	close()
}

// packet is one as it is written.
type packet struct {
	at     int64 // nanoseconds since 1970
	length uint32
	data   []byte
}

var errTick = errors.New("nothing came for a moment")

func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if o.during > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.during)
		defer cancel()
	}
	from, err := open(ctx, o.socket)
	if err != nil {
		return err
	}
	defer from.close()
	out, err := create(ctx, o.file, stdout, stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "Capturing on %s; Ctrl-C ends it.\n", o.socket.Interface)
	began := time.Now()
	c := copying{from: from, to: newWriter(out, from.rawIP()), most: o.most, name: o.socket.Interface, shown: newLine(stderr)}
	err = c.all()
	if closing := out.Close(); err == nil && closing != nil {
		err = fmt.Errorf("write %s: %w", o.file, closing)
	}
	c.shown.clear()
	fmt.Fprintln(stderr, c.sum(time.Since(began)))
	switch {
	case errors.Is(err, syscall.EPIPE):
		return nil // whoever read it has enough
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("nobody reads %s any more: the rest is lost", o.file)
	}
	return err
}

// create opens the file. A terminal is no place for packets.
func create(ctx context.Context, file string, stdout, stderr io.Writer) (io.WriteCloser, error) {
	if info, err := os.Stat(file); file != "-" && err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		return openPipe(ctx, file, stderr)
	}
	if file != "-" {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, fmt.Errorf("write the capture: %w", err)
		}
		return f, nil
	}
	if f, ok := stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return nil, usage.Errorf("standard output is a terminal: give --write a file, or pipe it into another program")
	}
	signal.Ignore(syscall.SIGPIPE) // else a reader that has enough would end us before we say what came
	return kept{stdout}, nil
}

// How a pipe is waited for, and how long at the end for whoever reads it.
const (
	pipeAgain = 100 * time.Millisecond
	pipeGrace = time.Second
)

// openPipe waits for somebody to read a named pipe, without sticking in the call that opens it: Ctrl-C must end that, too.
func openPipe(ctx context.Context, file string, stderr io.Writer) (io.WriteCloser, error) {
	f, err := os.OpenFile(file, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	for told := false; errors.Is(err, syscall.ENXIO); f, err = os.OpenFile(file, os.O_WRONLY|syscall.O_NONBLOCK, 0) {
		if !told {
			fmt.Fprintf(stderr, "Waiting for somebody to read %s; Ctrl-C ends it.\n", file)
			told = true
		}
		select {
		case <-time.After(pipeAgain):
		case <-ctx.Done():
			return nil, fmt.Errorf("nobody read %s: nothing was captured", file)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write the capture: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Now().Add(pipeGrace)) }) // fails once it is closed
	return f, nil
}

// kept is an output that is not ours to close.
type kept struct{ io.Writer }

func (kept) Close() error { return nil }

// copying writes packets as they come.
type copying struct {
	from  source
	to    *writer
	most  uint64
	name  string
	shown *line

	came    amount
	written amount // what is in the file for sure
}

// amount is how much was captured.
type amount struct{ packets, bytes uint64 }

func (a amount) String() string {
	return fmt.Sprintf("%s (%s)", columns.Count(int(a.packets), "packet"), columns.Bytes(int64(a.bytes)))
}

func (c *copying) all() error {
	for c.most == 0 || c.came.packets < c.most {
		p, err := c.from.next()
		switch {
		case errors.Is(err, io.EOF):
			return c.flush()
		case errors.Is(err, errTick):
			if err := c.flush(); err != nil {
				return err
			}
			err = c.tick()
		case err == nil:
			c.came.packets++
			c.came.bytes += uint64(len(p.data))
			if err := c.to.write(p); err != nil {
				return err
			}
		}
		if err != nil {
			return errors.Join(err, c.flush())
		}
	}
	return c.flush()
}

// flush writes out what came, so that whoever reads the file sees it soon.
func (c *copying) flush() error {
	err := c.to.flush()
	if err == nil {
		c.written = c.came
	}
	return err
}

// tick looks around once a second.
func (c *copying) tick() error {
	if c.shown.due() {
		c.shown.show(fmt.Sprintf("%s written, %d dropped", c.written, c.from.counts().Dropped))
		if c.from.gone() {
			return fmt.Errorf("the interface %s is gone; what came until then is in the file", c.name)
		}
	}
	return nil
}

// sum says how it went.
func (c *copying) sum(took time.Duration) string {
	k := c.from.counts()
	return fmt.Sprintf("%s written in %s; %d matched the filter, %d of these were dropped by the kernel for want of room",
		c.written, took.Round(time.Millisecond), k.Packets, k.Dropped)
}

// line is a line of a terminal that is written over each second. On anything else it shows nothing.
type line struct {
	out  *bufio.Writer // nil without a terminal
	last time.Time
	any  bool
}

func newLine(stderr io.Writer) *line {
	l := &line{last: time.Now()}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		l.out = bufio.NewWriter(f)
	}
	return l
}

// due reports, once a second, that a second has passed.
func (l *line) due() bool {
	if time.Since(l.last) < time.Second {
		return false
	}
	l.last = time.Now()
	return true
}

const eraseLine = "\r\x1b[K"

func (l *line) show(text string) {
	if l.out == nil {
		return
	}
	l.any = true
	_, _ = l.out.WriteString(eraseLine + text)
	_ = l.out.Flush() // a line that cannot be drawn is no reason to stop
}

func (l *line) clear() {
	if l.any {
		_, _ = l.out.WriteString(eraseLine)
		_ = l.out.Flush()
	}
}
