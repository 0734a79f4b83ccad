package brokerwire

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func TestDatagrams(t *testing.T) {
	for _, at := range []string{"", "192.0.2.1:53", "[2001:db8::1]:0", "[fe80::1%eth0]:161"} {
		var addr netip.AddrPort
		if at != "" {
			addr = netip.MustParseAddrPort(at)
		}
		for _, payload := range []string{"", "hello"} {
			got, rest, err := ParseDatagram(append(AppendDatagram(nil, addr), payload...))
			if err != nil || got != addr || string(rest) != payload {
				t.Errorf("%s with %q: %s %q %v", at, payload, got, rest, err)
			}
		}
	}
	for _, bad := range []string{"", "\x01", "\x04", "\x04\x7f\x00\x00\x01\x35", "\x04\x7f\x00\x00\x01\x35\x00\x05eth", "\x11aaaaaaaaaaaaaaaaaaaa"} {
		if _, _, err := ParseDatagram([]byte(bad)); err == nil {
			t.Errorf("%q is a datagram", bad)
		}
	}
	_, _, err := ParseDatagram(AppendDatagramError(nil, CauseRefused))
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("an error arrives as %v", err)
	}
}

// What a program may test for survives the way.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		is   error
		want sdk.Class
	}{
		{sdk.Errorf(sdk.Temporary, "open: %w", fs.ErrNotExist), fs.ErrNotExist, sdk.Temporary},
		{sdk.Errorf(sdk.InvalidConfig, "open: %w", fs.ErrPermission), fs.ErrPermission, sdk.InvalidConfig},
		{sdk.Errorf(sdk.Temporary, "%w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}), syscall.ECONNREFUSED, sdk.Temporary},
		{sdk.Errorf(sdk.Temporary, "%w", os.ErrDeadlineExceeded), os.ErrDeadlineExceeded, sdk.Temporary},
		{sdk.Errorf(sdk.PermissionDenied, "no"), nil, sdk.PermissionDenied},
		{fmt.Errorf("plain: %w", syscall.EHOSTUNREACH), syscall.EHOSTUNREACH, sdk.Internal},
	} {
		got := ErrorOf(c.err).Err()
		if got.Error() != c.err.Error() || sdk.ClassOf(got) != c.want {
			t.Errorf("%v became %v of class %s", c.err, got, sdk.ClassOf(got))
		}
		if c.is != nil && !errors.Is(got, c.is) {
			t.Errorf("%v is no %v any more", got, c.is)
		}
		var timeout net.Error
		if errors.Is(c.is, os.ErrDeadlineExceeded) && (!errors.As(got, &timeout) || !timeout.Timeout()) {
			t.Errorf("%v is no time-out any more", got)
		}
	}
	if ErrorOf(nil) != nil || (*Error)(nil).Err() != nil {
		t.Error("no error became one")
	}
}

func TestParseRequest(t *testing.T) {
	r, err := ParseRequest([]byte(`{"id": 3, "op": "dial", "network": "tcp", "address": "a:1", "timeout": 5}`))
	if err != nil || r.ID != 3 || r.Op != OpDial || r.Timeout != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"", "{}", `{"id": 1, "timeout": -1}`, `{"id": 1, "name": "` + strings.Repeat("a", maxText+1) + `"}`} {
		if _, err := ParseRequest([]byte(bad)); err == nil {
			t.Errorf("%.40q is a request", bad)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"id": 1, "op": "dial", "network": "tcp", "address": "example.org:80", "timeout": 1000}`))
	f.Add([]byte(`{"id": 18446744073709551615, "op": "state_put", "key": "k", "size": 1048576}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRequest(data)
		if err == nil && (r.ID == 0 || r.Size < 0 || r.Timeout < 0 || len(r.Address) > maxText || len(r.Key) > maxText || len(r.Name) > maxText) {
			t.Fatalf("%q became %+v", data, r)
		}
	})
}

func FuzzParseDatagram(f *testing.F) {
	f.Add([]byte("\x04\x7f\x00\x00\x01\x35\x00\x00hello"))
	f.Add([]byte("\x00hello"))
	f.Add([]byte("\xffrefused"))
	f.Fuzz(func(t *testing.T, data []byte) {
		addr, payload, err := ParseDatagram(data)
		if err != nil {
			return
		}
		again, rest, err := ParseDatagram(append(AppendDatagram(nil, addr), payload...))
		if err != nil || again != addr || !bytes.Equal(rest, payload) {
			t.Fatalf("%q became %s %q, then %s %q, %v", data, addr, payload, again, rest, err)
		}
	})
}
