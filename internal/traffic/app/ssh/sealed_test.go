package ssh

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// logOn is a connection of a real client to a real server whose password is "right".
func logOn(t *testing.T, cipher, mac string, passwords ...string) []apptest.Said {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		cfg := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if string(password) != "right" {
				return nil, errors.New("no")
			}
			return nil, nil
		}}
		cfg.AddHostKey(signer)
		if c, _, _, err := ssh.NewServerConn(conn, cfg); err == nil {
			c.Close()
		}
		conn.Close()
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	cfg := &ssh.ClientConfig{User: "ada", HostKeyCallback: ssh.InsecureIgnoreHostKey(), Auth: []ssh.AuthMethod{
		ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
			if next == len(passwords) {
				return "", errors.New("no more")
			}
			next++
			return passwords[next-1], nil
		}), len(passwords)),
	}}
	cfg.Ciphers, cfg.MACs = []string{cipher}, []string{mac}
	over := &tap{Conn: conn}
	if c, _, _, err := ssh.NewClientConn(over, "", cfg); err == nil {
		c.Close()
	}
	conn.Close()
	<-done
	return over.said()
}

func TestLogins(t *testing.T) {
	for _, suite := range [][2]string{
		{"chacha20-poly1305@openssh.com", "hmac-sha2-256"}, {"aes128-gcm@openssh.com", "hmac-sha2-256"}, {"aes256-ctr", "hmac-sha2-256"},
		{"aes128-ctr", "hmac-sha1"}, {"aes192-ctr", "hmac-sha2-512-etm@openssh.com"}, {"aes256-ctr", "hmac-sha2-256-etm@openssh.com"},
	} {
		for _, test := range []struct {
			passwords []string
			want      []login.Result
		}{
			{[]string{"right"}, []login.Result{login.Granted}},
			{[]string{"wrong", "right"}, []login.Result{login.Granted}},
			{[]string{"wrong"}, []login.Result{login.Failed}},
			{[]string{"wrong", "wrong"}, []login.Result{login.Failed, login.Failed}},
			{[]string{"wrong", "wrong", "wrong", "wrong", "wrong"}, []login.Result{login.Failed, login.Failed, login.Failed}},
		} {
			var have []login.Result
			apptest.Stream(SSH, 1<<20, func(f *app.Fact) {
				if a, ok := f.Body.(*login.Attempt); ok {
					have = append(have, a.Result)
				}
			}, logOn(t, suite[0], suite[1], test.passwords...)...)
			if !slices.Equal(have, test.want) {
				t.Errorf("%s with %q: %v", suite, test.passwords, have)
			}
		}
	}
}

// Who only looks at the key of a server, or goes before an answer, does not log in.
func TestNoLogin(t *testing.T) {
	talk := logOn(t, "aes256-ctr", "hmac-sha1", "wrong")
	sealed := 0
	for i, s := range talk {
		if s.Dir == app.Server && len(s.Text) < 100 {
			sealed++
		}
		if sealed >= 2 {
			talk = talk[:i]
			break
		}
	}
	apptest.Stream(SSH, 1<<20, func(f *app.Fact) {
		if a, ok := f.Body.(*login.Attempt); ok {
			t.Errorf("%+v", a)
		}
	}, talk...)
}

func TestLength(t *testing.T) {
	for _, test := range []struct {
		cipher, mac       string
		granted, accepted int
	}{
		{"chacha20-poly1305@openssh.com", "", 28, 44}, {"aes256-gcm@openssh.com", "", 36, 52}, {"aes128-ctr", "hmac-sha1", 36, 52},
		{"aes128-ctr", "hmac-sha2-256-etm@openssh.com", 52, 68}, {"3des-cbc", "hmac-md5", 32, 48}, {"none", "", 0, 0}, {"aes128-ctr", "new", 0, 0}, {"", "", 0, 0},
	} {
		if g, a := length(test.cipher, test.mac, grantedBytes), length(test.cipher, test.mac, acceptedBytes); g != test.granted || a != test.accepted {
			t.Errorf("%s, %s: %d and %d", test.cipher, test.mac, g, a)
		}
	}
}
