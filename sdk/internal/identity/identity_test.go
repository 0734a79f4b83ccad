package identity

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

// meet lets both sides shake hands and returns what each of them says.
func meet(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	lis, err := tls.Listen("tcp", "127.0.0.1:0", server) // a pipe in memory would block whoever says no
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := lis.Accept()
		if err == nil {
			_, err = conn.Write([]byte("x"))
			conn.Close()
		}
		done <- err
	}()
	conn, err := tls.Dial("tcp", lis.Addr().String(), client)
	if err == nil { // with TLS 1.3 the server judges the client after the client's handshake
		_, err = conn.Read(make([]byte, 1))
		conn.Close()
	}
	return <-done, err
}

func TestOnlyTheTwoOfAStartMeet(t *testing.T) {
	host, plugin, stranger := made(t), made(t), made(t)
	server, err := Server(plugin, PEM(host))
	if err != nil {
		t.Fatal(err)
	}
	trusting := func(own, other tls.Certificate) *tls.Config {
		c := Client(own)
		c.RootCAs = x509.NewCertPool()
		leaf, err := x509.ParseCertificate(other.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		c.RootCAs.AddCert(leaf)
		return c
	}
	if s, c := meet(t, server, trusting(host, plugin)); s != nil || c != nil {
		t.Errorf("the two of a start: plugin %v, host %v", s, c)
	}
	for name, client := range map[string]*tls.Config{
		"a client with another certificate":  trusting(stranger, plugin),
		"a client without a certificate":     {RootCAs: trusting(host, plugin).RootCAs, ServerName: Name, MinVersion: tls.VersionTLS13},
		"a host that was promised another":   trusting(host, stranger),
		"a host that was promised no plugin": Client(host),
	} {
		if _, c := meet(t, server, client); c == nil {
			t.Errorf("%s was let in", name)
		}
	}
}

func made(t *testing.T) tls.Certificate {
	t.Helper()
	cert, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestServerWithoutCertificateOfTheHost(t *testing.T) {
	for _, bad := range []string{"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := Server(made(t), bad); err == nil {
			t.Errorf("%q was taken for a certificate", bad)
		}
	}
}
