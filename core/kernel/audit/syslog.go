package audit

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

const (
	syslogBatch   = 500
	syslogPoll    = time.Second
	syslogTimeout = 10 * time.Second
	syslogLongest = time.Minute // between attempts
	syslogSent    = "audit.syslog.sent"
	syslogLogAt   = 13 * 8 // facility 13, log audit
)

// SyslogStore is where the lines are, and where it is noted which were sent.
type SyslogStore interface {
	AuditAfter(ctx context.Context, tenant string, after int64, f store.AuditFilter, limit int) ([]store.AuditEntry, error)
	Setting(ctx context.Context, tenant, name string) (string, error)
	PutSetting(ctx context.Context, tenant, name, value string) error
}

// Syslog sends a tenant's audit log elsewhere as it grows: RFC 5424 over TLS (RFC 5425). What could not be sent waits; syslog
// has no acknowledgement, so lines that a peer took and did not keep are lost to it. Each carries its place in the chain, so
// that the other side sees a gap.
type Syslog struct {
	Store   SyslogStore
	Tenant  string
	Address string // host:port
	TLS     *tls.Config
	Host    string // of this server, as the lines say
	Log     *slog.Logger
}

// SyslogTLS is the TLS of a syslog server whose certificate an authority in the file ca vouches for, that of the system
// when it is "". With cert and key this side shows a certificate, too.
func SyslogTLS(ca, cert, key string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("read the authority of the syslog server: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate for the syslog server: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Run sends until ctx ends.
func (s *Syslog) Run(ctx context.Context) {
	wait := syslogPoll
	for {
		began := time.Now()
		err := s.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > syslogLongest {
			wait = syslogPoll // it had worked
		}
		s.Log.Warn("the audit log is not being sent", "to", s.Address, "error", err, "again in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			wait = min(2*wait, syslogLongest)
		}
	}
}

// stream sends over one connection until that breaks.
func (s *Syslog) stream(ctx context.Context) error {
	sent, err := s.sent(ctx)
	if err != nil {
		return err
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: syslogTimeout}, Config: s.TLS}
	conn, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	gone := make(chan error, 1)
	go func() { // a syslog server says nothing: what can be read is that it has gone
		_, err := io.Copy(io.Discard, conn)
		gone <- cmp.Or(err, io.EOF)
	}()
	// Not at once: a server that refuses this side's certificate says so after the handshake, and what it was sent by then is lost.
	next := time.NewTimer(syslogPoll)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-gone:
			return closed(err)
		case <-next.C:
		}
		list, err := s.Store.AuditAfter(ctx, s.Tenant, sent, store.AuditFilter{}, syslogBatch)
		if err != nil {
			return err
		}
		select {
		case err := <-gone: // what is written now would be lost
			return closed(err)
		default:
		}
		if len(list) > 0 {
			if err := s.send(conn, list); err != nil {
				return err
			}
			sent = list[len(list)-1].Seq
			if err := s.Store.PutSetting(ctx, s.Tenant, syslogSent, strconv.FormatInt(sent, 10)); err != nil {
				return err
			}
		}
		if len(list) == syslogBatch {
			next.Reset(0)
		} else {
			next.Reset(syslogPoll)
		}
	}
}

func closed(err error) error {
	return fmt.Errorf("the syslog server closed the connection: %w", err)
}

func (s *Syslog) sent(ctx context.Context) (int64, error) {
	text, err := s.Store.Setting(ctx, s.Tenant, syslogSent)
	if err != nil || text == "" {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}

func (s *Syslog) send(conn net.Conn, list []store.AuditEntry) error {
	if err := conn.SetWriteDeadline(time.Now().Add(syslogTimeout)); err != nil {
		return err
	}
	w := bufio.NewWriterSize(conn, 64<<10)
	for _, e := range list {
		line := s.line(e)
		if _, err := fmt.Fprintf(w, "%d %s", len(line), line); err != nil {
			return err
		}
	}
	return w.Flush()
}

// line is an entry in RFC 5424.
func (s *Syslog) line(e store.AuditEntry) string {
	severity := map[string]int{OK: 6, Refused: 4, Failed: 3}[e.Outcome]
	data := fmt.Sprintf(`[audit@32473 seq="%d" tenant="%s" actor="%s" action="%s" object="%s" outcome="%s" address="%s" hash="%x"]`,
		e.Seq, param(e.Tenant), param(e.Actor), param(e.Action), param(e.Object), param(e.Outcome), param(e.Address), e.Hash)
	return fmt.Sprintf("<%d>1 %s %s picketd %d audit %s \ufeff%s %s %s: %s %s", syslogLogAt+severity, e.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00"),
		header(s.Host), os.Getpid(), data, e.Actor, e.Action, e.Object, e.Outcome, e.Detail)
}

// param is a value inside quotes.
func param(v string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(v)
}

// header is a name of printable ASCII, "-" for none.
func header(v string) string {
	v = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, v)
	if v == "" {
		return "-"
	}
	return v[:min(len(v), 255)]
}
