package snmp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"
	"github.com/picketwatch/picket/sdk"
)

// Bounds on what one request asks for.
const (
	maxObjects     = 24 // of a GET
	mostRepeated   = 48 // rows that one GETBULK asks for
	firstRepeated  = 12
	mostCells      = 240 // rows times columns: more never fits into a datagram
	maxRows        = 50_000
	maxWrongAnswer = 4 // answers in a walk that bring it no further
)

// Options of a Client.
type Options struct {
	Timeout time.Duration // of one request
	Retries int
}

// Client asks one agent. It is for one goroutine.
type Client struct {
	lib      *gosnmp.GoSNMP
	conn     net.Conn
	repeated int // rows that the next GETBULK asks for
	// Requests is how many were sent, tries again included.
	Requests int
}

// Dialer is the part of the host that a client needs.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Open makes a client for the agent at host:port. That the agent is there is known with the first answer.
func Open(ctx context.Context, host Dialer, address string, access Access, o Options) (*Client, error) {
	if err := access.complete(); err != nil {
		return nil, err
	}
	conn, err := host.Dial(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, repeated: firstRepeated}
	c.lib = &gosnmp.GoSNMP{
		// The library makes a socket before anything else. That one is bound to nothing and given up for the host's.
		Target: netip.IPv4Unspecified().String(), UseUnconnectedUDPSocket: true, LocalAddr: ":0",
		Context: ctx, Timeout: o.Timeout, Retries: o.Retries, MaxOids: maxObjects,
		OnSent: func(*gosnmp.GoSNMP) { c.Requests++ },
	}
	access.apply(c.lib)
	if err := c.lib.Connect(); err != nil {
		conn.Close()
		return nil, sdk.Errorf(sdk.Internal, "prepare SNMP: %w", err)
	}
	c.lib.Conn.Close()
	c.lib.Conn = connected{conn}
	return c, nil
}

// connected hides that a connection could send elsewhere, which the library would make use of.
type connected struct{ net.Conn }

// Close ends the client.
func (c *Client) Close() { c.conn.Close() }

// ErrSilent is the error of an agent that did not answer.
var ErrSilent = errors.New("no answer")

// notAuthentic is what the library says of a device's refusal, which nobody can prove.
const notAuthentic = "not authentic"

// explain makes an error of the library one that says what to do.
func explain(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, gosnmp.ErrUnknownUsername), errors.Is(err, gosnmp.ErrWrongDigest), strings.Contains(err.Error(), notAuthentic):
		return sdk.Errorf(sdk.InvalidConfig, "the device refuses user or auth_password, or has another auth_protocol")
	case errors.Is(err, gosnmp.ErrDecryption):
		return sdk.Errorf(sdk.InvalidConfig, "the device refuses priv_password, or has another priv_protocol")
	case errors.Is(err, gosnmp.ErrUnknownSecurityLevel):
		return sdk.Errorf(sdk.InvalidConfig, "the device knows the user with another level of security: look at auth_protocol and priv_protocol")
	case isTimeout(err):
		return sdk.Errorf(sdk.Temporary, "%w: the device is away, or it refuses the community or priv_password in silence", ErrSilent)
	}
	text, _, _ := strings.Cut(err.Error(), " Stack:")
	return sdk.Errorf(sdk.Downstream, "SNMP: %s", text[:min(len(text), 200)])
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, gosnmp.ErrMaxRetriesExceeded)
}

// Get returns the values of objects; those that the agent does not have are missing.
func (c *Client) Get(oids ...OID) (map[OID]Value, error) {
	out := map[OID]Value{}
	for len(oids) > 0 {
		n := min(len(oids), maxObjects)
		if err := c.get(oids[:n], out); err != nil {
			return out, err
		}
		oids = oids[n:]
	}
	return out, nil
}

// get asks for some objects. Where an agent of version 1 lacks one, or the answer is too big, it asks for each by itself.
func (c *Client) get(oids []OID, out map[OID]Value) error {
	answer, err := c.lib.Get(dotted(oids))
	if err != nil {
		return explain(err)
	}
	if answer.Error != gosnmp.NoError {
		if len(oids) == 1 {
			return nil
		}
		for _, one := range oids {
			if err := c.get([]OID{one}, out); err != nil {
				return err
			}
		}
		return nil
	}
	for _, pdu := range answer.Variables {
		if v := valueOf(pdu); !v.IsZero() {
			out[nameOf(pdu)] = v
		}
	}
	return nil
}

func dotted(oids []OID) []string {
	out := make([]string, len(oids))
	for i, o := range oids {
		out[i] = "." + string(o)
	}
	return out
}

func nameOf(pdu gosnmp.SnmpPDU) OID { return OID(strings.TrimPrefix(pdu.Name, ".")) }

// Row is one of a table: values by the place of their column in the question.
type Row map[int]Value

// Table is what was read of columns, by the index of the row. Order holds the indexes as they came.
type Table struct {
	Rows  map[string]Row
	Order []string
	// Cut says that there was more than is taken, or that the agent went astray.
	Cut bool
}

func (t *Table) put(index string, column int, v Value) {
	row := t.Rows[index]
	if row == nil {
		row = Row{}
		t.Rows[index] = row
		t.Order = append(t.Order, index)
	}
	row[column] = v
}

// walk is one column that is being read.
type walk struct {
	column int
	prefix OID
	last   OID
	wrong  int
}

// Walk reads columns of one table side by side, each until it ends. most bounds the rows, 0 is the bound of the package.
func (c *Client) Walk(most int, columns ...OID) (*Table, error) {
	if most <= 0 || most > maxRows {
		most = maxRows
	}
	t := &Table{Rows: map[string]Row{}}
	open := make([]*walk, len(columns))
	for i, prefix := range columns {
		open[i] = &walk{column: i, prefix: prefix, last: prefix}
	}
	for len(open) > 0 {
		n := min(len(open), maxObjects)
		rest := open[n:]
		answer, err := c.next(open[:n])
		if err != nil {
			return t, err
		}
		open = append(c.take(t, open[:n], answer, most), rest...)
	}
	return t, nil
}

// next asks for what follows, for as many rows as the agent was found to manage.
func (c *Client) next(open []*walk) (*gosnmp.SnmpPacket, error) {
	oids := make([]OID, len(open))
	for i, w := range open {
		oids[i] = w.last
	}
	if c.lib.Version == gosnmp.Version1 {
		return c.nextEach(open, oids)
	}
	for {
		n := max(1, min(c.repeated, mostCells/len(oids)))
		answer, err := c.lib.GetBulk(dotted(oids), 0, uint32(n))
		switch {
		case err == nil && answer.Error == gosnmp.NoError:
			c.repeated = min(c.repeated+c.repeated/2+1, mostRepeated)
			return answer, nil
		case err == nil && answer.Error != gosnmp.TooBig && n == 1:
			return nil, sdk.Errorf(sdk.Downstream, "SNMP: the device answers %s", answer.Error)
		case err != nil && (!isTimeout(err) || n == 1):
			return nil, explain(err)
		case n == 1:
			return nil, sdk.Errorf(sdk.Downstream, "SNMP: not one row fits into an answer of the device")
		}
		c.repeated = max(1, n/4) // it is too slow, too small, or its answer was lost on the way
	}
}

// nextEach asks an agent of version 1, which names the one object that it has nothing after and says nothing of the others.
func (c *Client) nextEach(open []*walk, oids []OID) (*gosnmp.SnmpPacket, error) {
	ended := make([]bool, len(open))
	for {
		var asked []OID
		var place []int
		for i := range oids {
			if !ended[i] {
				asked, place = append(asked, oids[i]), append(place, i)
			}
		}
		out := &gosnmp.SnmpPacket{Variables: make([]gosnmp.SnmpPDU, len(oids))}
		for i := range out.Variables {
			out.Variables[i] = gosnmp.SnmpPDU{Type: gosnmp.EndOfMibView}
		}
		if len(asked) == 0 {
			return out, nil
		}
		answer, err := c.lib.GetNext(dotted(asked))
		if err != nil {
			return nil, explain(err)
		}
		if answer.Error == gosnmp.NoError {
			for i, pdu := range answer.Variables[:min(len(answer.Variables), len(place))] {
				out.Variables[place[i]] = pdu
			}
			return out, nil
		}
		at := int(answer.ErrorIndex) - 1
		if answer.Error != gosnmp.NoSuchName || at < 0 || at >= len(place) {
			at = 0 // it does not say which
		}
		ended[place[at]] = true
	}
}

// take puts an answer into the table and returns the columns that go on.
func (c *Client) take(t *Table, open []*walk, answer *gosnmp.SnmpPacket, most int) []*walk {
	ended, before := make([]bool, len(open)), make([]OID, len(open))
	for i, w := range open {
		before[i] = w.last
	}
	for i, pdu := range answer.Variables {
		at := i % len(open)
		w := open[at]
		if ended[at] {
			continue
		}
		name := nameOf(pdu)
		index, below := name.Below(w.prefix)
		switch {
		case pdu.Type == gosnmp.EndOfMibView || !below:
			ended[at] = true
		case name.Compare(w.last) <= 0:
			w.wrong++
			ended[at] = true
			t.Cut = true
		case len(t.Rows) >= most && t.Rows[index] == nil:
			ended[at], t.Cut = true, true
		default:
			w.last, w.wrong = name, 0
			if v := valueOf(pdu); !v.IsZero() {
				t.put(index, w.column, v)
			}
		}
	}
	var on []*walk
	for i, w := range open {
		if !ended[i] && w.last == before[i] { // the answer was cut off before it
			w.wrong++
		}
		if !ended[i] && w.wrong < maxWrongAnswer {
			on = append(on, w)
		} else if !ended[i] {
			t.Cut = true
		}
	}
	return on
}

// Address is host:port of a target, which may leave out the port.
func Address(target string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(target, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), "161"), nil
	}
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		host, port = target, "161"
	}
	if host == "" || port == "" || strings.ContainsAny(host, " /") {
		return "", sdk.Errorf(sdk.InvalidConfig, "%q is not a device such as 192.0.2.1, switch.example.org or 192.0.2.1:1161", target)
	}
	return net.JoinHostPort(host, port), nil
}
