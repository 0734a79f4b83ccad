package redis

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
)

// maxInfo bounds an answer: INFO of a server with many replicas and databases has some 20 KiB.
const maxInfo = 1 << 20

func (c *Collector) ask(ctx context.Context) ([]byte, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, c.failed(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return nil, err
		}
	}
	in := bufio.NewReader(conn)
	if c.config.Password != "" {
		login := []string{"AUTH", c.config.Password}
		if c.config.User != "" {
			login = []string{"AUTH", c.config.User, c.config.Password}
		}
		if _, err := question(conn, in, login...); err != nil {
			return nil, c.failed(err)
		}
	}
	text, err := question(conn, in, "INFO")
	if err != nil {
		return nil, c.failed(err)
	}
	return text, nil
}

func (c *Collector) connect(ctx context.Context) (net.Conn, error) {
	conn, err := c.host.Dial(ctx, "tcp", c.config.Server)
	if err != nil || !c.config.TLS {
		return conn, err
	}
	name, _, _ := net.SplitHostPort(c.config.Server) // checked by Validate
	settings, err := trust.Config(name, c.config.CACertificates)
	if err != nil {
		conn.Close()
		return nil, err
	}
	secure := tls.Client(conn, settings)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// refusal is what the server says against a command. Its first word tells what is wrong.
type refusal string

func (r refusal) Error() string { return string(r) }

// failed gives an error its class: who sent a wrong login has to change something, a server that loads comes back.
func (c *Collector) failed(err error) error {
	var said refusal
	var known *sdk.Error
	class := sdk.Temporary
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &said):
		word, _, _ := strings.Cut(string(said), " ")
		switch word {
		case "NOAUTH", "WRONGPASS", "NOPERM", "ERR":
			class = sdk.InvalidConfig
		}
	default:
		if of, ok := trust.Class(err); ok {
			class = of
		}
	}
	return sdk.Errorf(class, "%s: %w", c.config.Server, err)
}

// question sends one command and reads its answer, in the protocol RESP 2.
func question(w io.Writer, in *bufio.Reader, words ...string) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return nil, err
	}
	return answer(in)
}

var errProtocol = errors.New("the answer is not that of a Redis server")

func answer(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errProtocol
	case err != nil:
		return nil, err
	case len(line) < 3 || line[len(line)-2] != '\r':
		return nil, errProtocol
	}
	kind, rest := line[0], string(line[1:len(line)-2])
	switch kind {
	case '+':
		return []byte(rest), nil
	case '-':
		return nil, refusal(strings.ToValidUTF8(rest, "?"))
	case '$':
		n, err := strconv.ParseUint(rest, 10, 31)
		if err != nil || n > maxInfo {
			return nil, errProtocol
		}
		text := make([]byte, n+2)
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		return text[:n], nil
	}
	return nil, errProtocol
}
