package capturecmd

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/internal/traffic/capture"
)

// script is a source that plays packets and errors.
type script struct {
	steps []any // packet or error
	raw   bool
	left  bool // the interface is gone
}

func (s *script) next() (packet, error) {
	if len(s.steps) == 0 {
		return packet{}, io.EOF
	}
	step := s.steps[0]
	s.steps = s.steps[1:]
	if err, ok := step.(error); ok {
		return packet{}, err
	}
	return step.(packet), nil
}

func (s *script) rawIP() bool                 { return s.raw }
func (s *script) counts() packetsocket.Counts { return packetsocket.Counts{Packets: 7, Dropped: 3} }
func (s *script) gone() bool                  { return s.left }
func (*script) close()                        {}

func play(s *script, to io.Writer, most uint64) (*copying, error) {
	c := &copying{from: s, to: newWriter(to, s.raw), most: most, name: "eth0", shown: newLine(io.Discard)}
	c.shown.last = time.Time{} // the first tick is one of those that look around
	return c, c.all()
}

// TestWhatIsWrittenIsRead writes packets and reads them with the reader of captures.
func TestWhatIsWrittenIsRead(t *testing.T) {
	at := time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.UTC)
	packets := []any{packet{at.UnixNano(), 60, []byte("first")}, errTick, packet{at.Add(time.Hour).UnixNano(), 6, []byte("second")}, packet{0, 1, []byte("x")}}
	for raw, link := range map[bool]capture.LinkType{false: capture.LinkEthernet, true: capture.LinkRaw} {
		var out bytes.Buffer
		c, err := play(&script{steps: packets, raw: raw}, &out, 2)
		if err != nil {
			t.Fatal(err)
		}
		r, err := capture.Open(&out)
		if err != nil {
			t.Fatal(err)
		}
		var p capture.Packet
		if err := r.Next(&p); err != nil || p.Time != at.UnixNano() || p.Length != 60 || string(p.Data) != "first" || p.Link != link {
			t.Errorf("%+v, %v", p, err)
		}
		if err := r.Next(&p); err != nil || string(p.Data) != "second" {
			t.Errorf("%+v, %v", p, err)
		}
		if err := r.Next(&p); !errors.Is(err, io.EOF) {
			t.Errorf("more than was asked for: %v", err)
		}
		if said := c.sum(time.Second); !strings.Contains(said, "2 packets (11 B) written") || !strings.Contains(said, "7 matched the filter, 3 of these were dropped") {
			t.Error(said)
		}
	}
}

// TestWhatGoesWrong ends a capture, and what came until then is written.
func TestWhatGoesWrong(t *testing.T) {
	one := packet{1, 5, []byte("first")}
	for says, s := range map[string]*script{
		"the interface eth0 is gone": {steps: []any{one, errTick}, left: true},
		"no ring":                    {steps: []any{one, errors.New("no ring")}},
	} {
		var out bytes.Buffer
		if _, err := play(s, &out, 0); err == nil || !strings.Contains(err.Error(), says) || !bytes.HasSuffix(out.Bytes(), []byte("first")) {
			t.Errorf("%q: %v, %q", says, err, out.Bytes())
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	c, err := play(&script{steps: []any{one, errTick, one}}, full, 0)
	if err == nil || strings.Count(err.Error(), "no space left") != 1 || !strings.Contains(c.sum(time.Second), "0 packets (0 B) written") {
		t.Errorf("a full disk: %v, %s", err, c.sum(time.Second))
	}
}

// try calls the command.
func try(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, problems bytes.Buffer
	cmd := New()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&problems)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), problems.String(), err
}

func TestWrongCalls(t *testing.T) {
	for says, args := range map[string][]string{
		"\"interface\", \"write\" not set":                      {},
		"--snaplen -1: give a number of bytes from 1 to 262144": {"-i", "lo", "-w", "x", "--snaplen", "-1"},
		"not looked up":         {"-i", "lo", "-w", "-", "host", "example.org"},
		"--ring":                {"-i", "lo", "-w", "-", "--ring", "much"},
		"between":               {"-i", "lo", "-w", "-", "--ring", "1KiB"},
		"over before it begins": {"-i", "lo", "-w", "-", "--for", "-1s"},
	} {
		if _, _, err := try(t, args...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", args, err)
		}
	}
	if os.Geteuid() != 0 {
		if _, _, err := try(t, "-i", "lo", "-w", "-"); err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW") {
			t.Errorf("without the capability: %v", err)
		}
		return
	}
	if _, _, err := try(t, "-i", "none0", "-w", "-"); err == nil || !strings.Contains(err.Error(), "no such interface") {
		t.Errorf("without an interface: %v", err)
	}
	if _, _, err := try(t, "-i", "lo", "-w", filepath.Join(t.TempDir(), "none", "x")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a folder: %v", err)
	}
}
