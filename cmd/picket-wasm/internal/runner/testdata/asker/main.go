// Command asker is a guest that asks its host for everything there is, and says what it got.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/serve"
)

func init() {
	sdk.Register(sdk.Plugin{ID: "test/asker", Kind: sdk.KindCollector, Summary: "Asks.", New: func() sdk.Instance { return &asker{} }})
}

func main() { serve.Main() }

type asker struct {
	cfg struct {
		TCP  string `json:"tcp"`
		UDP  string `json:"udp"`
		URL  string `json:"url"`
		File string `json:"file"`
	}
	host sdk.Host
}

func (a *asker) Config() any { return &a.cfg }

func (a *asker) Start(_ context.Context, host sdk.Host) error {
	a.host = host
	return nil
}

func (a *asker) Collect(ctx context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error {
	for name, ask := range map[string]func(context.Context) (string, error){
		"tcp": a.tcp, "udp": a.udp, "timeout": a.timeout, "denied": a.denied, "many": a.many,
		"fetch": a.fetch, "file": a.file, "state": a.state, "listen": a.listen,
	} {
		got, err := ask(ctx)
		if err != nil {
			got += " error " + string(sdk.ClassOf(err)) + ": " + err.Error()
		}
		if err := sink.Sample(sdk.Sample{Metric: "asked", Type: sdk.Gauge, Time: req.Time, Labels: map[string]string{"ask": name, "got": got}}); err != nil {
			return err
		}
	}
	return nil
}

func (a *asker) tcp(ctx context.Context) (string, error) {
	conn, err := a.host.Dial(ctx, "tcp", a.cfg.TCP)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	sent := strings.Repeat("x", 3<<20) + "end" // more than one chunk
	if _, err := io.WriteString(conn, sent); err != nil {
		return "", err
	}
	got, err := io.ReadAll(io.LimitReader(conn, int64(len(sent))))
	return fmt.Sprint(string(got) == sent, conn.RemoteAddr().String() == a.cfg.TCP), err
}

func (a *asker) udp(ctx context.Context) (string, error) {
	conn, err := a.host.Dial(ctx, "udp", a.cfg.UDP)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "datagram"); err != nil {
		return "", err
	}
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

func (a *asker) timeout(ctx context.Context) (string, error) {
	conn, err := a.host.Dial(ctx, "tcp", a.cfg.TCP)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return "", err
	}
	_, err = conn.Read(make([]byte, 1))
	var timeout net.Error
	return fmt.Sprint(errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout()), nil
}

func (a *asker) denied(ctx context.Context) (string, error) {
	_, err := a.host.Dial(ctx, "tcp", "169.254.169.254:80")
	return string(sdk.ClassOf(err)), nil
}

// many opens connections until it may not, and gives them back.
func (a *asker) many(ctx context.Context) (string, error) {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range 300 {
		conn, err := a.host.Dial(ctx, "tcp", a.cfg.TCP)
		if err != nil {
			return fmt.Sprint(len(conns), " ", sdk.ClassOf(err)), nil
		}
		conns = append(conns, conn)
	}
	return fmt.Sprint(len(conns)), nil
}

func (a *asker) fetch(ctx context.Context) (string, error) {
	resp, err := a.host.Fetch(ctx, sdk.Request{Method: "POST", URL: a.cfg.URL, Header: map[string][]string{"X-Asked": {"yes"}}, Body: []byte("body")})
	return fmt.Sprint(resp.Status, " ", string(resp.Body), " ", resp.Header["X-Answer"]), err
}

func (a *asker) file(context.Context) (string, error) {
	f, err := a.host.Open(a.cfg.File)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	all, err := io.ReadAll(f)
	if err != nil {
		return "", err
	}
	if _, err := f.(io.Seeker).Seek(-3, io.SeekEnd); err != nil {
		return "", err
	}
	end, err := io.ReadAll(f)
	return fmt.Sprint(info.Name(), " ", info.Size(), " ", string(all), " ", string(end)), err
}

func (a *asker) state(context.Context) (string, error) {
	s := a.host.State()
	missing, err := s.Get("none")
	if err != nil {
		return "", err
	}
	value := strings.Repeat("v", 1<<20)
	if err := s.Put("k", []byte(value)); err != nil {
		return "", err
	}
	if err := s.Put("empty", nil); err != nil {
		return "", err
	}
	got, err := s.Get("k")
	if err != nil {
		return "", err
	}
	empty, err := s.Get("empty")
	return fmt.Sprint(missing == nil, string(got) == value, empty != nil, sdk.ClassOf(s.Put("large", make([]byte, 1<<20+1)))), err
}

func (a *asker) listen(ctx context.Context) (string, error) {
	_, err := a.host.Listen(ctx, "tcp", "127.0.0.1:0")
	return string(sdk.ClassOf(err)), nil
}
