package traffic

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/carved"
)

// What packets cannot be taken out of a capture for, besides what is wrong with the capture.
var (
	ErrNoPackets = errors.New("the capture has no such packets")
	ErrCarveBusy = errors.New("too many packets are being looked up")
)

const (
	// maxCarvers bounds the workers that look for packets at the same time: each may read a whole capture.
	maxCarvers   = 3
	carverWait   = 10 * time.Second
	maxCarveTime = 10 * time.Minute
	defaultPage  = 50
)

// Carve writes the packets that are wanted as a pcap file, while a worker finds them. Nothing is written when there are
// none.
func (s *Service) Carve(ctx context.Context, c Capture, w carved.Wanted, to io.Writer) error {
	return s.carve(ctx, c, s.opener(c), wantedArgs(w), func(body []byte) error {
		if _, err := to.Write(body); err != nil {
			return fmt.Errorf("%w: %w", errTaker, err)
		}
		return nil
	})
}

// Packets returns a page of the packets that are wanted, decoded.
func (s *Service) Packets(ctx context.Context, c Capture, w carved.Wanted) (carved.PacketPage, error) {
	return s.decoded(ctx, c, s.opener(c), w)
}

// PacketsIn is Packets for a file that is no capture of this service.
func (s *Service) PacketsIn(ctx context.Context, open func() (*os.File, error), w carved.Wanted) (carved.PacketPage, error) {
	return s.decoded(ctx, Capture{}, open, w)
}

func (s *Service) opener(c Capture) func() (*os.File, error) {
	return func() (*os.File, error) { return s.Open(c) }
}

func (s *Service) decoded(ctx context.Context, c Capture, open func() (*os.File, error), w carved.Wanted) (carved.PacketPage, error) {
	if w.Limit <= 0 || w.Limit > carved.MaxPackets {
		w.Limit = defaultPage
	}
	args := append(wantedArgs(w), "--after", strconv.FormatUint(w.After, 10), "--limit", strconv.Itoa(w.Limit+1))
	page := carved.PacketPage{Items: make([]carved.DecodedPacket, 0, w.Limit)}
	last := w.After
	err := s.carve(ctx, c, open, args, func(body []byte) error {
		var p carved.DecodedPacket
		if err := decode(body, &p); err != nil {
			return err
		}
		if err := believable(&p); err != nil {
			return err
		}
		if p.Number <= last { // a reader would turn pages for ever, or miss some
			return fmt.Errorf("the traffic worker sent packet %d of those behind packet %d", p.Number, last)
		}
		last = p.Number
		switch n := len(page.Items); {
		case n < w.Limit:
			page.Items = append(page.Items, p)
		case n == w.Limit: // one more than is shown says that there is another page
			page.Next = page.Items[n-1].Number
		}
		return nil
	})
	if errors.Is(err, ErrNoPackets) && w.After > 0 {
		err = nil // the page before was the last
	}
	return page, err
}

func wantedArgs(w carved.Wanted) []string {
	if w.Flow > 0 {
		return []string{"--carve-flow", strconv.FormatUint(w.Flow, 10)}
	}
	var list []string
	for _, n := range w.Numbers {
		list = append(list, strconv.FormatUint(n, 10))
	}
	return []string{"--carve-packets", strings.Join(list, ",")}
}

// carve runs one worker over a stored capture, or another file of packets, and hands on each piece of its answer.
func (s *Service) carve(ctx context.Context, c Capture, open func() (*os.File, error), args []string, piece func([]byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxCarveTime)
	defer cancel()
	release, err := s.carver(ctx)
	if err != nil {
		return err
	}
	defer release()
	file, err := open()
	if err != nil {
		return fmt.Errorf("open the stored capture: %w", err)
	}
	defer file.Close()
	w, err := startWorker(ctx, s.cfg.Carver(args), file)
	if err != nil {
		return fmt.Errorf("start the traffic worker: %w", err)
	}
	pieces := 0
	err = s.pieces(w.out, &c, func(body []byte) error {
		pieces++
		return piece(body)
	})
	cancel() // it said all that it had to say
	exit := w.wait()
	switch {
	case errors.Is(err, errTaker), errors.Is(err, ErrNoPackets):
		return err
	case err != nil:
		return verdict(err, exit, c, w.stderr.String())
	case pieces == 0:
		return ErrNoPackets
	}
	return nil
}

// carver waits for a turn.
func (s *Service) carver(ctx context.Context) (release func(), err error) {
	wait, cancel := context.WithTimeout(ctx, carverWait)
	defer cancel()
	select {
	case s.carvers <- struct{}{}:
		return func() { <-s.carvers }, nil
	case <-wait.Done():
		return nil, ErrCarveBusy
	}
}

// errTaker says that whoever takes the pieces took no more.
var errTaker = errors.New("the packets were not taken")

// pieces reads the worker's answer to its end. c learns how far the worker is.
func (s *Service) pieces(r io.Reader, c *Capture, piece func([]byte) error) error {
	in := newMessages(r, s.cfg.Stall)
	for {
		m, err := in.next()
		if err != nil {
			return err
		}
		switch m.kind {
		case msgPiece:
			if err := piece(m.body); err != nil {
				return err
			}
		case msgProgress:
			if err := c.progress(m.body); err != nil {
				return err
			}
		case msgDone:
			return nil
		case msgError:
			return decodeError(m.body)
		default:
			return fmt.Errorf("the traffic worker sent a message of kind %d, which was not asked for", m.kind)
		}
	}
}

// believable checks what a worker says of a packet against the bounds that it should have kept.
func believable(p *carved.DecodedPacket) error {
	if _, err := hex.DecodeString(p.Hex); err != nil || len(p.Hex) > 2*carved.MaxBytes || len(p.Layers) > carved.MaxLayers {
		return errors.New("the traffic worker sent more of a packet than was asked for")
	}
	texts := []string{p.Direction, p.Src, p.Dst, p.Protocol, p.Flags}
	for i := range p.Layers {
		l := &p.Layers[i]
		if len(l.Fields) > carved.MaxFields || !within(l.Offset, l.Length, p.Captured) {
			return errors.New("the traffic worker sent a layer that lies outside of its packet")
		}
		if l.Fields == nil {
			l.Fields = []carved.DecodedField{}
		}
		texts = append(texts, l.Name, l.Error)
		for _, f := range l.Fields {
			if !within(f.Offset, f.Length, p.Captured) {
				return errors.New("the traffic worker sent a field that lies outside of its packet")
			}
			texts = append(texts, f.Name, f.Value)
		}
	}
	for _, text := range texts {
		if len(text) > carved.MaxText {
			return errors.New("the traffic worker sent a text that is too long")
		}
	}
	if p.Layers == nil {
		p.Layers = []carved.DecodedLayer{}
	}
	return nil
}

func within(offset, length int, all uint32) bool {
	return offset >= 0 && length >= 0 && int64(offset) <= int64(all) && int64(length) <= int64(all)-int64(offset)
}
