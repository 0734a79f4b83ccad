package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk/records"
)

// PacketError says at which packet the analysis of a capture ended.
type PacketError struct {
	Packet uint64
	Err    error
}

func (e *PacketError) Error() string { return e.Err.Error() }
func (e *PacketError) Unwrap() error { return e.Err }

// attempt analyses a capture once. Even when the worker dies, the findings up to that point are in the outcome. The worker
// ends with life, the work of the detectors with ctx.
func (s *Service) attempt(ctx, life context.Context, c Capture) (Capture, Outcome, error) {
	file, err := s.Open(c)
	if err != nil {
		return c, Outcome{}, fmt.Errorf("open the stored capture: %w", err)
	}
	defer file.Close()
	// The worker has a context of its own: ending it must not take the detectors' time to finish and forget.
	life, end := context.WithCancel(life)
	defer end()
	analysis := s.cfg.Analyse(ctx, c)
	w, err := startWorker(life, s.cfg.Worker(analysis.Wanted()), file)
	if err != nil {
		analysis.Close(ctx, false)
		return c, Outcome{}, fmt.Errorf("start the traffic worker: %w", err)
	}
	err = s.follow(ctx, w.out, analysis, &c)
	if err != nil {
		end() // a worker that is still talking has nothing more to say
	}
	grace := time.AfterFunc(exitGrace, end)
	defer grace.Stop()
	exit := w.wait()
	out := analysis.Close(context.WithoutCancel(ctx), err == nil)
	return c, out, verdict(err, exit, c, w.stderr.String())
}

// verdict turns how the conversation ended and how the process ended into one error for the page.
func verdict(err, exit error, c Capture, stderr string) error {
	var told *workerError
	switch {
	case err == nil:
		return nil // it said done; how it exits after that changes nothing
	case errors.As(err, &told):
		return &PacketError{Packet: told.Packet, Err: told}
	case errors.Is(err, errDied):
		how := "without a word"
		if exit != nil {
			how = exit.Error()
		}
		msg := fmt.Sprintf("the traffic worker died after packet %d (%s); the capture may be damaged or made to break decoders", c.Packets, how)
		if line := firstLine(stderr); line != "" {
			msg += "; it last said: " + line
		}
		return &PacketError{Packet: c.Packets, Err: errors.New(msg)}
	default:
		return &PacketError{Packet: c.Packets, Err: fmt.Errorf("after packet %d: %w", c.Packets, err)}
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if len(s) > 200 {
		s = s[:200]
	}
	return s
}

// follow reads the worker's messages until it says done, and keeps the job's figures.
func (s *Service) follow(ctx context.Context, r io.Reader, a Analysis, c *Capture) error {
	in, memory := newMessages(r, s.cfg.Stall), &buffers{}
	in.lent = memory
	var features message // of the next frame
	saved := s.cfg.Now()
	for {
		m, err := in.next()
		if err != nil {
			return err
		}
		switch m.kind {
		case msgFeatures:
			if !a.Wanted().Features {
				return errors.New("the traffic worker sent features, which nobody asked for")
			}
			features = m
		case msgFrame:
			p := m.parcel(features)
			p.Done = func() { memory.give(m.body) }
			if err := a.Frame(ctx, p); err != nil {
				return fmt.Errorf("hand flows to the detectors: %w", err)
			}
			memory.give(features.body)
			memory.give(features.packed)
			features = message{}
		case msgFacts:
			p := m.parcel(message{})
			p.Done = func() { memory.give(m.body) }
			if err := facts(ctx, a, p); err != nil {
				return err
			}
		case msgPackets:
			if err := packets(ctx, a, m.body); err != nil {
				return err
			}
		case msgProgress:
			if err := c.progress(m.body); err != nil {
				return err
			}
			if now := s.cfg.Now(); now.Sub(saved) >= progressEvery {
				saved = now
				s.save(ctx, *c)
			}
		case msgDone:
			return c.done(m.body)
		case msgError:
			return decodeError(m.body)
		default:
			return fmt.Errorf("the traffic worker sent a message of kind %d, which was not asked for", m.kind)
		}
	}
}

// facts passes on facts of a kind that was asked for.
func facts(ctx context.Context, a Analysis, p records.Parcel) error {
	kind, err := a.Wanted().kindOf(p.Frame)
	if err != nil {
		return err
	}
	if err := a.Facts(ctx, kind, p); err != nil {
		return fmt.Errorf("hand facts to the detectors: %w", err)
	}
	return nil
}

// kindOf is the kind of the facts in a frame that a worker sent, if it was asked for them and they are no more than it may send.
func (w Wanted) kindOf(frame []byte) (string, error) {
	kind := records.SchemaOf(frame).Facts()
	if !slices.Contains(w.Facts, kind) {
		return "", fmt.Errorf("the traffic worker sent facts of kind %q, which nobody asked for", kind)
	}
	if len(frame) > records.MaxFacts {
		return "", fmt.Errorf("the traffic worker sent %d bytes of facts at once, more than the %d allowed", len(frame), records.MaxFacts)
	}
	return kind, nil
}

// packets passes on packets of a subscription that was asked for.
func packets(ctx context.Context, a Analysis, body []byte) error {
	if len(body) < 2 {
		return errors.New("the traffic worker sent packets that are not understood")
	}
	subscription := int(binary.LittleEndian.Uint16(body))
	if subscription >= len(a.Wanted().Packets) {
		return fmt.Errorf("the traffic worker sent packets of subscription %d, which nobody asked for", subscription)
	}
	if err := a.Packets(ctx, subscription, body[2:]); err != nil {
		return fmt.Errorf("hand packets to the detectors: %w", err)
	}
	return nil
}

func (c *Capture) progress(body []byte) error {
	var p progressMessage
	if err := decode(body, &p); err != nil {
		return err
	}
	c.Packets, c.Flows = figure(p.Packets), figure(p.Flows)
	if p.Total > 0 {
		// Not quite 1 before the findings are stored.
		c.Progress = min(float64(p.BytesRead)/float64(p.Total), 0.99)
	}
	return nil
}

func (c *Capture) done(body []byte) error {
	var d doneMessage
	if err := decode(body, &d); err != nil {
		return err
	}
	c.Packets, c.Bytes, c.Flows, c.Undecoded = figure(d.Packets), figure(d.Bytes), figure(d.Flows), figure(d.Undecoded)
	c.First, c.Last = utc(d.First), utc(d.Last)
	c.Evicted, c.Truncated, c.Damage = d.Evicted, d.Truncated, firstLine(d.Damage)
	c.Services = served(d.Services)
	quality := d.Quality
	quality.LinkTypes = d.LinkTypes
	quality = quality.bounded()
	c.Quality = &quality
	return nil
}

// figure is a number that a worker may have told: the store's are signed, and would refuse the whole job for a higher one.
func figure(n uint64) uint64 { return min(n, math.MaxInt64) }

// served keeps what a worker may say of services.
func served(said []ServedPort) []ServedPort {
	out := make([]ServedPort, 0, min(len(said), maxServices))
	for _, s := range said {
		if s.Hosts > 0 && len(out) < maxServices {
			s.Hosts = min(s.Hosts, maxHosts)
			out = append(out, s)
		}
	}
	return out
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}
