package samplebatch

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Writer is the agent's side: its book. It is not safe for concurrent use.
type Writer struct {
	book    uint32
	numbers map[string]int
	series  []Series
	told    int // how many of them the server has
}

// NewWriter starts a book.
func NewWriter() *Writer {
	w := &Writer{}
	w.begin()
	return w
}

func (w *Writer) begin() { *w = Writer{book: rand.Uint32(), numbers: map[string]int{}} }

// Forget has the whole book sent again.
func (w *Writer) Forget() { w.told = 0 }

// Told notes that the server took a message.
func (w *Writer) Told(m *Message) {
	if m.Book == w.book {
		w.told = max(w.told, m.Known+len(m.Series))
	}
}

// Message makes one of samples.
func (w *Writer) Message(epoch string, seq uint64, samples []sdk.Sample) *Message {
	if len(w.series)+len(samples) > MaxSeries {
		w.begin() // labels that change all the time must not fill it
	}
	m := &Message{Epoch: epoch, Seq: seq, Rows: make([]Row, len(samples))}
	for i, x := range samples {
		m.Rows[i] = Row{Series: w.number(x), Micros: x.Time.UnixMicro(), Value: x.Value}
	}
	m.Book, m.Known, m.Series = w.book, w.told, w.series[w.told:]
	return m
}

func (w *Writer) number(x sdk.Sample) int {
	var key strings.Builder
	for _, part := range [...]string{x.Metric, x.Unit, string(x.Type)} {
		key.WriteString(part)
		key.WriteByte(0)
	}
	for _, k := range sortedKeys(x.Labels) {
		key.WriteString(k)
		key.WriteByte(0)
		key.WriteString(x.Labels[k])
		key.WriteByte(0)
	}
	n, ok := w.numbers[key.String()]
	if !ok {
		n = len(w.series)
		w.numbers[key.String()] = n
		w.series = append(w.series, Series{x.Metric, x.Unit, x.Type, x.Labels})
	}
	return n
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Books is the server's side: the book of each agent, as what a caller makes of its series. What all of them hold is bounded: the
// one that was not used for longest is forgotten, and its agent sends it again.
type Books[T any] struct {
	Most int // series in all books

	mu    sync.Mutex // guards what follows
	books map[string]*book[T]
	held  int
}

type book[T any] struct {
	id     uint32
	epoch  string
	series []T
	used   time.Time
	again  time.Time // when those that could not be added are tried once more; zero for none
}

// tryAgain is how long what could not be added to a book stays so: a quota may have been raised.
const tryAgain = 10 * time.Minute

// Read adds the new series of a message to the agent's book and returns all of the book's, and the epoch it is for. ok is false when
// the book is not known, or some of its series could not be added a while ago: the agent must send all of it. What it returns is not
// changed any more.
func (b *Books[T]) Read(agent string, m *Message, now time.Time, add func(Series) (T, bool)) (epoch string, series []T, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.books == nil {
		b.books = map[string]*book[T]{}
	}
	k := b.books[agent]
	switch {
	case m.Known == 0:
		b.drop(agent)
		k = &book[T]{id: m.Book, epoch: m.Epoch}
		b.books[agent] = k
	case k == nil || k.id != m.Book || m.Known > len(k.series) || !k.again.IsZero() && now.After(k.again):
		return "", nil, false
	}
	k.used = now
	for _, s := range m.Series[min(len(k.series)-m.Known, len(m.Series)):] { // those before were added by an earlier try
		x, added := add(s)
		if !added && k.again.IsZero() {
			k.again = now.Add(tryAgain)
		}
		k.series = append(k.series, x)
		b.held++
	}
	for b.held > b.Most && len(b.books) > 1 {
		b.drop(b.oldest(agent))
	}
	return k.epoch, k.series[:len(k.series):len(k.series)], true
}

func (b *Books[T]) drop(agent string) {
	if k := b.books[agent]; k != nil {
		b.held -= len(k.series)
		delete(b.books, agent)
	}
}

// oldest is whose book was not used for longest, but not that agent's.
func (b *Books[T]) oldest(but string) (agent string) {
	var at time.Time
	for name, k := range b.books {
		if name != but && (agent == "" || k.used.Before(at)) {
			agent, at = name, k.used
		}
	}
	return agent
}
