package e2e

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/picketwatch/picket/core/agent/spool"
	"github.com/picketwatch/picket/sdk"
)

// witness keeps all that an agent's queue ever held: of each segment a second link, which stays when the queue removes its own.
type witness struct {
	t           *testing.T
	queue, kept string
}

// watch begins at once and ends with the test.
func watch(t *testing.T, queue string) *witness {
	t.Helper()
	w := &witness{t, queue, filepath.Join(filepath.Dir(queue), "witness")}
	if err := os.MkdirAll(w.kept, 0o700); err != nil {
		t.Fatal(err)
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			w.link()
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { close(end); <-ended })
	return w
}

func (w *witness) link() {
	segments, _ := filepath.Glob(filepath.Join(w.queue, "*.seg"))
	for _, s := range segments {
		if err := os.Link(s, filepath.Join(w.kept, filepath.Base(s))); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			w.t.Error(err)
		}
	}
}

// written waits until the agent has put a batch on disk, which is when it begins to send it.
func (w *witness) written() {
	size := func() (n int64) {
		segments, _ := filepath.Glob(filepath.Join(w.queue, "*.seg"))
		for _, s := range segments {
			if info, err := os.Stat(s); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	before := size()
	for end := time.Now().Add(5 * time.Second); size() == before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// open copies a folder of segments and opens the copy as the agent would.
func (w *witness) open(folder string) *spool.Spool {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		w.t.Fatal(err)
	}
	q, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 4 << 30})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = q.Close() })
	return q
}

// take empties a queue.
func (w *witness) take(q *spool.Spool) (all []spool.Item) {
	w.t.Helper()
	for q.Stats().Depth > 0 {
		it, err := q.Next(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, it)
		q.Ack(it.Seq)
	}
	return all
}

// point is a sample as it was measured and as it is stored.
type point struct {
	micros int64
	value  float64
}

// storedPoints reads the files of a server that has ended, without its help: the points of an agent by series, as they came in.
func storedPoints(t *testing.T, data, agent string) map[string][]point {
	t.Helper()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetMaxOpenConns(1)
	files, _ := filepath.Glob(filepath.Join(data, "telemetry", "*.duckdb"))
	slices.Sort(files)
	var parts []string
	for i, path := range files {
		alias := fmt.Sprintf("f%d", i)
		if strings.HasPrefix(filepath.Base(path), "catalogue") {
			alias = "catalogue"
		} else {
			parts = append(parts, fmt.Sprintf("SELECT %d AS file, rowid AS row, ts, series_id, value FROM %s.main.samples", i, alias))
		}
		if _, err := db.Exec(fmt.Sprintf("ATTACH '%s' AS %s (READ_ONLY)", path, alias)); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.Query("SELECT metric, labels, epoch_us(ts), value FROM ("+strings.Join(parts, " UNION ALL ")+
		") s JOIN catalogue.main.series c ON c.id = s.series_id WHERE agent = ? ORDER BY file, row", agent)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string][]point{}
	for rows.Next() {
		var metric, text string
		var p point
		if err := rows.Scan(&metric, &text, &p.micros, &p.value); err != nil {
			t.Fatal(err)
		}
		var labels map[string]string
		if err := json.Unmarshal([]byte(text), &labels); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(metric, labels)
		found[key] = append(found[key], p)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// compare holds what is stored against what was promised: all of it once and in order, but for what the queue gave up and counted,
// which lies together, and for what it holds still.
func (w *witness) compare(stored map[string][]point) {
	w.t.Helper()
	queue := w.open(w.queue)
	dropped := int(queue.Stats().Dropped)
	waiting := map[uint64]bool{}
	for _, it := range w.take(queue) {
		waiting[it.Seq] = true
	}
	rows, missing, largest := 0, 0, 0
	var given []uint64 // numbers of the batches that are missing
	for _, it := range w.take(w.open(w.kept)) {
		var samples []sdk.Sample
		if err := json.Unmarshal(it.Payload, &samples); err != nil || it.Kind != 1 {
			w.t.Fatalf("batch %d is of kind %d, %v", it.Seq, it.Kind, err)
		}
		lacks := 0
		for _, s := range samples {
			key := fmt.Sprint(s.Metric, s.Labels)
			if have := stored[key]; len(have) > 0 && have[0] == (point{s.Time.UnixMicro(), s.Value}) {
				stored[key] = have[1:]
			} else {
				lacks++
			}
		}
		rows, largest = rows+len(samples), max(largest, len(samples))
		switch {
		case lacks == 0 || lacks == len(samples) && waiting[it.Seq]:
		case lacks < len(samples):
			w.t.Errorf("batch %d has %d samples, %d of them are not stored in their place", it.Seq, len(samples), lacks)
		default:
			missing, given = missing+lacks, append(given, it.Seq)
		}
	}
	for key, rest := range maps.All(stored) {
		if len(rest) > 0 {
			w.t.Errorf("%s: %d points are stored twice, out of order, or nobody measured them; the first is %+v", key, len(rest), rest[0])
		}
	}
	// What was on its way when the queue gave it up is counted and may have arrived.
	if missing > dropped || dropped > missing+largest {
		w.t.Errorf("%d samples are missing, %d are counted as dropped", missing, dropped)
	}
	if n := len(given); n > 0 && given[n-1]-given[0] != uint64(n-1) {
		w.t.Errorf("the missing batches do not lie together: %v", given)
	}
	w.t.Logf("%d samples in the queue since it began, %d given up and %d counted as such, %d batches wait still", rows, missing, dropped, len(waiting))
}

// caughtUp reports whether an agent has sent what was in its queue.
func (m *machine) caughtUp(folder string) bool {
	out, err := m.here(filepath.Join(m.programs, "picket-agent"), "status", "--data", folder, "--json").Output()
	var is struct {
		Queue   struct{ Depth int }
		Sending struct{ Sent uint64 }
	}
	return err == nil && json.Unmarshal(out, &is) == nil && is.Queue.Depth <= 1 && is.Sending.Sent > 0
}

// An agent under load is killed at random, half of the times while it sends; then the network between it and its server is cut,
// and it is killed once more in there. What its queue was given is stored once and in order. PICKET_KILLS and PICKET_CUT make this
// long; a cut of minutes overflows the queue.
func TestNothingPromisedIsLost(t *testing.T) {
	kills, cut := 2, 3*time.Second
	if n, err := strconv.Atoi(os.Getenv("PICKET_KILLS")); err == nil {
		kills = n
	}
	if d, err := time.ParseDuration(os.Getenv("PICKET_CUT")); err == nil {
		cut = d
	}
	s := newSite(t)
	server, data := s.development("srv", "10.77.9.1")
	m := s.machine("two", "10.77.9.2")
	server.must(nil, "install", "picket/host", "--grant", "all", "--interval", "1s", "--yes")
	var made struct{ Token string }
	server.ask(&made, "/api/v1/agents/tokens", `{"name":"two"}`)
	token := m.file("token", made.Token)
	folder := filepath.Join(m.dir, "data")
	begin := func() *program {
		return m.start("picket-agent", "--server", server.url(), "--insecure-http", "--name", "two", "--data", folder, "--token-file", token, "--queue-bytes", strconv.Itoa(2<<20))
	}
	w := watch(t, filepath.Join(folder, "queue"))
	agent := begin()
	w.written()
	for n := range kills {
		time.Sleep(rand.N(1500 * time.Millisecond))
		if n%2 == 0 {
			w.written()
			time.Sleep(rand.N(40 * time.Millisecond))
		}
		agent.kill9()
		agent = begin()
		w.written()
	}
	m.cut()
	time.Sleep(cut / 2)
	agent.kill9()
	agent = begin()
	time.Sleep(cut / 2)
	m.plug()

	var list struct{ Items []struct{ ID, Name string } }
	server.ask(&list, "/api/v1/agents", "")
	id := ""
	for _, a := range list.Items {
		if a.Name == "two" {
			id = a.ID
		}
	}
	for deadline := time.Now().Add(cut/10 + 2*patience); !m.caughtUp(folder); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the agent does not catch up")
		}
	}
	agent.stop()
	server.server.stop()
	w.compare(storedPoints(t, data, id))
}
