package traffic

import (
	"time"

	"github.com/picketwatch/picket/internal/packetsocket"
)

// LiveFigures say how a live capture goes. Counts are since it began.
type LiveFigures struct {
	Interface string    `json:"interface"`
	Filter    string    `json:"filter,omitempty"`
	Run       string    `json:"run,omitempty"` // of the worker that reads now
	Since     time.Time `json:"since"`
	Problem   string    `json:"problem,omitempty"` // why nothing is captured now
	Received  uint64    `json:"received"`          // packets that the filter let through, by the kernel
	Dropped   uint64    `json:"dropped"`           // of these, for want of room
	Packets   uint64    `json:"packets"`           // that were read
	Bytes     uint64    `json:"bytes"`
	Flows     uint64    `json:"flows"`        // that were recorded
	Open      uint64    `json:"open"`         // that go on
	Restarts  int       `json:"restarts"`     // of the worker
	LostFlows uint64    `json:"lost_flows"`   // that were open when a worker died, or could not be recorded
	PerSecond float64   `json:"per_second"`   // packets read, of late
	Kept      float64   `json:"kept_seconds"` // how far the packets that are kept go back
}

// Figures are those of this moment.
func (l *Live) Figures() LiveFigures {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.figures
	f.Packets, f.Bytes = l.before.Packets+l.now.Packets, l.before.Bytes+l.now.Bytes
	f.Kept = time.Duration(max(l.now.Kept, 0)).Seconds()
	f.Open = l.now.Flows - min(l.rows, l.now.Flows)
	return f
}

// died accounts for a worker that is gone.
func (l *Live) died(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.figures.Restarts++
	l.figures.LostFlows += l.now.Flows - min(l.rows, l.now.Flows)
	l.anew()
	l.cfg.Log.Warn("a traffic worker ended", "interface", l.cfg.Socket.Interface, "problem", err)
}

// renewed accounts for a worker that recorded all its flows, if it was asked to end.
func (l *Live) renewed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := l.asked
	if asked {
		l.anew()
	}
	return asked
}

// anew begins the counts of another worker. It runs under mu.
func (l *Live) anew() {
	l.before.Packets += l.now.Packets
	l.before.Bytes += l.now.Bytes
	l.now, l.rows, l.heard, l.asked = progressMessage{}, 0, false, false
}

func (l *Live) read() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.Packets
}

func (l *Live) count(socket *packetsocket.Socket) {
	counts, err := socket.Counts()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.figures.Received, l.figures.Dropped = l.closed.Packets+counts.Packets, l.closed.Dropped+counts.Dropped
	}
}

func (l *Live) progress(body []byte) error {
	var p progressMessage
	if err := decode(body, &p); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now, l.heard = p, true
	return nil
}
