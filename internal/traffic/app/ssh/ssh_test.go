package ssh

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// tap notes what goes over the client's side.
type tap struct {
	net.Conn

	mu   sync.Mutex // guards talk: one side is read while the other is written
	talk []apptest.Said
}

func (t *tap) note(s apptest.Said) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.talk = append(t.talk, s)
}

// said is what has gone over it so far.
func (t *tap) said() []apptest.Said {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.talk)
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.note(apptest.Server(string(b[:n])))
	return n, err
}

func (t *tap) Write(b []byte) (int, error) {
	t.note(apptest.Client(string(b)))
	return t.Conn.Write(b)
}

// conversation is a handshake of a real client and server; fingerprint is the server's key as they see it.
func conversation(tb testing.TB) (talk []apptest.Said, fingerprint string) {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	// A pipe without a buffer would stop both, as each says its banner first.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		cfg := &ssh.ServerConfig{NoClientAuth: true, ServerVersion: "SSH-2.0-test_1 a comment"}
		cfg.AddHostKey(signer)
		if c, _, _, err := ssh.NewServerConn(conn, cfg); err == nil {
			c.Close()
		}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	cfg := &ssh.ClientConfig{HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
		fingerprint = ssh.FingerprintSHA256(key)
		return nil
	}}
	over := &tap{Conn: conn}
	c, _, _, err := ssh.NewClientConn(over, "", cfg)
	if err != nil {
		tb.Fatal(err)
	}
	c.Close()
	<-done
	return over.said(), fingerprint
}

func TestHandshake(t *testing.T) {
	talk, fingerprint := conversation(t)
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(SSH, size, func(f *app.Fact) {
			switch m := f.Body.(type) {
			case *Banner:
				have = append(have, fmt.Sprint(f.Dir, " ", *m))
			case *Offer:
				have = append(have, fmt.Sprint(f.Dir, " ", len(m.HASSH), " ", strings.Contains(m.KeyExchange, "curve25519-sha256")))
			case *HostKey:
				have = append(have, fmt.Sprint(f.Dir, " ", *m))
			}
		}, talk...)
		slices.Sort(have)
		want := []string{"0 32 true", "0 {2.0 Go }", "1 32 true", "1 {2.0 test_1 a comment}", "1 {ssh-ed25519 " + fingerprint + "}"}
		over := app.Continue
		if size == 1<<20 { // only whole messages show that somebody was let in
			over = app.Done
		}
		if !slices.Equal(have, want) || next != over {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
}

func TestHostile(t *testing.T) {
	banner := "SSH-2.0-x\r\n"
	for name, talk := range map[string][]apptest.Said{
		"huge packet":         {apptest.Client(banner + "\xff\xff\xff\xff")},
		"empty packet":        {apptest.Client(banner + "\x00\x00\x00\x01\x00")},
		"padding beyond":      {apptest.Client(banner + "\x00\x00\x00\x02\xff\x14")},
		"cut offer":           {apptest.Client(banner + "\x00\x00\x00\x0c\x00\x14" + strings.Repeat("c", 10))},
		"no end of greetings": {apptest.Server(strings.Repeat("hello\n", maxLines+1))},
		"hole":                {apptest.Client(banner), {Text: "x", Missing: 1}},
	} {
		if next := apptest.Stream(SSH, 3, func(*app.Fact) {}, talk...); next != app.Done {
			t.Errorf("%s: goes on", name)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for _, file := range []string{"benign-ssh__zeek__single-conn.pcap", "benign-ssh__FoxIOLLC__ssh.pcapng"} {
		t.Run(file, func(t *testing.T) { compare(t, apptest.Shared(t, file)) })
	}
}

func compare(t *testing.T, path string) {
	t.Helper()
	var have, want []string
	apptest.Run(t, path, []app.Protocol{SSH}, func(f *app.Fact) {
		port := strconv.Itoa(int(f.Flow.Client.Port()))
		switch m := f.Body.(type) {
		case *Banner:
			text := "SSH-" + m.Version + "-" + m.Software
			if m.Comment != "" {
				text += " " + m.Comment
			}
			have = append(have, port+" "+text)
		case *Offer:
			have = append(have, port+" "+m.KeyExchange+" "+m.HASSH)
		}
	})
	for _, row := range apptest.Tshark(t, path, "ssh.protocol || ssh.kex_algorithms", "tcp.port", "ssh.protocol", "ssh.kex_algorithms", "ssh.kex.hassh", "ssh.kex.hasshserver") {
		port := row[0][slices.IndexFunc(row[0], func(p string) bool { return p != "22" })]
		for _, banner := range row[1] {
			want = append(want, port+" "+banner)
		}
		for i, kex := range row[2] {
			want = append(want, port+" "+kex+" "+slices.Concat(row[3], row[4])[i])
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) || len(want) < 4 {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	t.Logf("%d banners and offers compared", len(want))
}

func FuzzStream(f *testing.F) {
	talk, _ := conversation(f)
	apptest.FuzzStream(f, SSH, talk)
}
