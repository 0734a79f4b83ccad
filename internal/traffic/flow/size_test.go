package flow

import (
	"net/netip"
	"testing"
	"unsafe"

	"github.com/picketwatch/picket/sdk"
)

const (
	sizeOne    = int(unsafe.Sizeof(entry{}))
	sizeCourse = int(unsafe.Sizeof(course{}))
	sizeMore   = int(unsafe.Sizeof(more{}))
)

// The default bound is one of memory: what flows take decides how many there may be, those of one packet less than others.
func TestOpenFlowsAreBoundedByMemory(t *testing.T) {
	for name, c := range map[string]struct {
		features bool
		packets  int
		size     int // of a flow
	}{
		"plain":                     {false, 1, sizeOne},
		"plain, two packets":        {false, 2, sizeOne + sizeCourse},
		"features of one packet":    {true, 1, sizeOne},
		"features of two packets":   {true, 2, sizeOne + sizeCourse + sizeMore},
		"features of three packets": {true, 3, sizeOne + sizeCourse + sizeMore},
	} {
		t.Run(name, func(t *testing.T) {
			flows := 0
			table := New(Config{Features: c.features}, func(list []sdk.Flow) error { flows += len(list); return nil })
			const count = 250_000
			for i := range count {
				for n := range c.packets {
					d := decoded(17, netip.AddrPortFrom(client.Addr(), uint16(i)), netip.AddrPortFrom(server.Addr(), uint16(i>>16)))
					add(t, table, uint64(i+1), int64(n), &d)
				}
			}
			if bytes := table.Open() * c.size; bytes > openBytes+c.size || bytes < openBytes-c.size {
				t.Errorf("%d flows of %d bytes in %d", table.Open(), c.size, openBytes)
			}
			if open := table.Open(); table.Counts().Evicted() != uint64(count-open) {
				t.Errorf("%d evicted, %d open", table.Counts().Evicted(), open)
			}
			closed(t, table)
			if flows != count {
				t.Errorf("%d flows of %d", flows, count)
			}
		})
	}
}

// Flows that all get their second packet late make room among themselves, and none loses what it has for itself.
func TestLateSecondPacketsMakeRoom(t *testing.T) {
	two := 0
	table := New(Config{Features: true}, func(list []sdk.Flow) error {
		for i := range list {
			if list[i].FwdPackets == 2 {
				two++
			}
		}
		return nil
	})
	const count = 150_000
	for n := range 2 {
		for i := range count {
			if n == 1 {
				i = count - 1 - i // the latest first, so that those that go are not those that come
			}
			d := decoded(17, netip.AddrPortFrom(client.Addr(), uint16(i)), netip.AddrPortFrom(server.Addr(), uint16(i>>16)))
			add(t, table, uint64(i+1), int64(n), &d)
			if bytes := table.pool.bytes(); bytes > openBytes+sizeOne+sizeCourse+sizeMore {
				t.Fatalf("%d bytes in flow %d", bytes, i)
			}
		}
	}
	open := table.Open()
	closed(t, table)
	if least := openBytes / (sizeOne + sizeCourse + sizeMore) / 2; open < least || two < least {
		t.Errorf("%d open, %d with two packets", open, two)
	}
}

// A flow that gets its second packet when there is no room is not the one that goes, even when it was quiet for longest.
func TestWhoMakesRoomIsNotTheOneThatNeedsIt(t *testing.T) {
	table := New(Config{Features: true}, func([]sdk.Flow) error { return nil })
	table.bytes = 2 * sizeOne
	packet := func(port uint16, at int64) {
		d := decoded(17, netip.AddrPortFrom(client.Addr(), port), server)
		add(t, table, uint64(at)+1, at, &d)
	}
	packet(1, 0)
	packet(2, 1)
	packet(3, 2)
	packet(1, 3)
	if table.Open() != 2 || table.Counts().Evicted() != 1 {
		t.Errorf("%d open, %d evicted", table.Open(), table.Counts().Evicted())
	}
	d := decoded(17, netip.AddrPortFrom(client.Addr(), 1), server)
	if id, _ := table.Latest(&d); id != 1 {
		t.Errorf("flow %d has the packet", id)
	}
}
