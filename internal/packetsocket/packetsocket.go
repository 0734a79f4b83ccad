// Package packetsocket opens sockets on which the packets of an interface arrive, for a process that reads them.
//
// In goes an interface, a filter and a size, out comes a socket whose packets the kernel writes into a ring of shared memory
// (TPACKET_V3). Whoever opens it needs the capability to, and reads nothing: the ring goes to a worker without any
// capability, by two descriptors. One is the socket, which the worker maps and closes before it looks at the first packet, so
// that what takes it over has nothing to send with; the other tells it when there is something to read.
//
// The socket outlives the worker. What arrives while there is none waits in the ring, as far as it fits.
package packetsocket

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/internal/packetsocket/filter"
)

// Config of a Socket. Interface is needed.
type Config struct {
	Interface string
	Filter    string // as package filter takes it; "" takes every packet
	SnapLen   uint32 // bytes of each packet; default MaxSnapLen
	RingBytes int    // default DefaultRing
	// Promiscuous takes packets for other stations, too.
	Promiscuous bool
}

// Bounds of a Config.
const (
	MaxSnapLen  = 256 << 10
	DefaultRing = 32 << 20
	MinRing     = 2 << 20
	MaxRing     = 1 << 30
)

// blockSize is what the kernel hands over at once, and the longest packet. Small blocks keep much of the ring usable when
// few packets come, since blockTime closes a block whatever is in it.
const (
	blockSize = 256 << 10
	blockTime = 10 * time.Millisecond
)

// Geometry is what a reader must know of a ring.
type Geometry struct {
	Blocks    int
	BlockSize int
	RawIP     bool // packets begin with their IP header
}

// String writes it as ParseGeometry reads it.
func (g Geometry) String() string {
	link := "ethernet"
	if g.RawIP {
		link = "ip"
	}
	return fmt.Sprintf("%dx%d:%s", g.Blocks, g.BlockSize, link)
}

// ParseGeometry reads BLOCKSxSIZE:LINK.
func ParseGeometry(text string) (g Geometry, err error) {
	sizes, link, _ := strings.Cut(text, ":")
	blocks, size, _ := strings.Cut(sizes, "x")
	g.Blocks, err = strconv.Atoi(blocks)
	if err == nil {
		g.BlockSize, err = strconv.Atoi(size)
	}
	g.RawIP = link == "ip"
	if err != nil || g.Blocks < 1 || g.BlockSize < 4096 || g.Blocks > MaxRing/g.BlockSize || link != "ip" && link != "ethernet" {
		return Geometry{}, fmt.Errorf("%q is no geometry of a ring, as 128x262144:ethernet is", text)
	}
	return g, nil
}

// Counts are the kernel's, since the socket was opened.
type Counts struct {
	Packets uint64 // that matched the filter, those dropped among them
	Dropped uint64 // for want of room in the ring
	Frozen  uint64 // how often the ring was full
}

// ErrUnsupported says that this system cannot capture.
var ErrUnsupported = errors.New("live capture needs Linux")

func (c *Config) fill() error {
	if c.Interface == "" {
		return errors.New("name an interface to capture on")
	}
	if c.SnapLen == 0 {
		c.SnapLen = MaxSnapLen
	}
	if c.RingBytes == 0 {
		c.RingBytes = DefaultRing
	}
	if c.SnapLen > MaxSnapLen {
		return fmt.Errorf("a snap length of %d bytes: at most %d", c.SnapLen, MaxSnapLen)
	}
	if c.RingBytes < MinRing || c.RingBytes > MaxRing {
		return fmt.Errorf("a ring of %d bytes: between %d and %d are possible", c.RingBytes, MinRing, MaxRing)
	}
	return nil
}

// Check reports what is wrong with a configuration without opening anything.
func Check(c Config) error {
	if err := c.fill(); err != nil {
		return err
	}
	_, err := filter.Compile(c.Filter, filter.Ethernet, c.SnapLen)
	return err
}
