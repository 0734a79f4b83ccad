package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// result is what one question gave. What was not reached is nil.
type result struct {
	err             error          // why the target did not answer
	lookup, connect *time.Duration // lookup is part of connect where it is not known by itself
	handshake, head *time.Duration
	total           time.Duration
	status          int                 // of HTTP, 0 when there was none
	echoes          *echoes             // of ICMP
	rcode           *int                // of DNS
	certificates    []*x509.Certificate // the server's own first
}

// ask asks one target. For TCP, TLS and HTTP it dials by the host and speaks HTTP/1.1 itself: a client library would hide the phases, and the
// certificate of a server that is not trusted, which is what one wants to see. It also keeps a WASM guest small.
func ask(ctx context.Context, host sdk.Host, t target, count int) result {
	began := time.Now()
	var r result
	switch t.scheme {
	case "icmp":
		r.err = r.ping(ctx, host, t, count)
		return r
	case "dns":
		r.err = r.resolve(ctx, host, t)
	default:
		r.err = r.run(ctx, host, t)
	}
	r.total = time.Since(began)
	return r
}

func (r *result) run(ctx context.Context, host sdk.Host, t target) error {
	lap := stopwatch()
	conn, err := host.Dial(ctx, "tcp", t.address)
	if err != nil {
		return err
	}
	defer func() { conn.Close() }()
	r.connect = lap()
	if known, ok := conn.(sdk.LookupTimer); ok && known.LookupTime() > 0 {
		lookup := min(known.LookupTime(), *r.connect)
		rest := *r.connect - lookup
		r.lookup, r.connect = &lookup, &rest
	}
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if t.scheme == "https" || t.scheme == "tls" {
		secure := tls.Client(conn, handshakeOnly(t.host))
		lap = stopwatch()
		if err := secure.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		r.handshake = lap()
		r.certificates = secure.ConnectionState().PeerCertificates
		conn = secure
	}
	if t.scheme == "tcp" || t.scheme == "tls" {
		return nil
	}
	lap = stopwatch()
	if _, err := io.WriteString(conn, "GET "+t.path+" HTTP/1.1\r\nHost: "+hostHeader(t)+"\r\nUser-Agent: Picket-Probe/1\r\nAccept: */*\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	r.status, err = readStatus(conn)
	if err == nil {
		r.head = lap()
	}
	return err
}

// handshakeOnly takes any certificate, so that its expiry can be measured also where it is not trusted. Nothing secret
// is ever sent over such a connection, and whether the certificate is good is a measurement of its own.
func handshakeOnly(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
}

// verify checks the server's certificate as a browser would.
func verify(certificates []*x509.Certificate, name string, roots *x509.CertPool, now time.Time) error {
	between := x509.NewCertPool()
	for _, c := range certificates[1:] {
		between.AddCert(c)
	}
	_, err := certificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between, CurrentTime: now})
	return err
}

func hostHeader(t target) string {
	host, port, _ := net.SplitHostPort(t.address)
	if port == strconv.Itoa(defaultPorts[t.scheme]) {
		if bytes.IndexByte([]byte(host), ':') >= 0 {
			return "[" + host + "]"
		}
		return host
	}
	return t.address
}

// maxStatusLine bounds what a server may send before its status is known.
const maxStatusLine = 4 << 10

var errStatus = errors.New("the answer is not HTTP")

// readStatus reads the status of an answer. Those below 200 only announce the real one.
func readStatus(r io.Reader) (int, error) {
	in := bufio.NewReader(io.LimitReader(r, 16*maxStatusLine))
	for range 4 {
		line, err := readLine(in)
		if err != nil {
			return 0, err
		}
		status, ok := parseStatus(line)
		if !ok {
			return 0, errStatus
		}
		if status >= 200 {
			return status, nil
		}
		for len(line) > 0 { // the header of an announcement ends with an empty line
			if line, err = readLine(in); err != nil {
				return 0, err
			}
		}
	}
	return 0, errStatus
}

func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errStatus
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// parseStatus reads "HTTP/1.1 200 OK".
func parseStatus(line []byte) (int, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1."))
	if !ok || len(rest) < 5 || rest[1] != ' ' || len(rest) > 5 && rest[5] != ' ' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(rest[2:5]), 10, 16)
	return int(n), err == nil && n >= 100 && n <= 599
}

func stopwatch() func() *time.Duration {
	began := time.Now()
	return func() *time.Duration {
		d := time.Since(began)
		return &d
	}
}
