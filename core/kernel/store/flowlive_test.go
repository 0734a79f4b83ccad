package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func openLive(t *testing.T, now *clock) *Flows {
	t.Helper()
	f, err := OpenFlows(t.Context(), FlowsConfig{Dir: t.TempDir(), Now: now.Now})
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestNamesOfAgentsAreBounded has agents bring names: none takes those of others, and what is uploaded has room left.
func TestNamesOfAgentsAreBounded(t *testing.T) {
	f := openLive(t, &clock{t: start})
	tls := f.word("tls", "")
	for i := range maxAgentWords + 10 {
		id := f.word(fmt.Sprintf("a%d", i), "a")
		if (id == 0) != (i >= maxAgentWords) {
			t.Fatalf("name %d of an agent has the number %d", i, id)
		}
	}
	if f.RefusedNames() != 10 {
		t.Errorf("%d were refused", f.RefusedNames())
	}
	if f.word("tls", "a") != tls || f.word("a0", "a") == 0 {
		t.Error("a name that is known was refused")
	}
	if f.word("quic", "b") == 0 {
		t.Error("another agent's name was refused")
	}
	for agent := range maxLiveWords {
		for i := range maxAgentWords {
			f.word(fmt.Sprintf("n%d-%d", agent, i), fmt.Sprint("agent", agent))
		}
		if len(f.words) >= maxLiveWords {
			break
		}
	}
	if f.word("late", "c") != 0 || len(f.words) != maxLiveWords {
		t.Errorf("agents brought %d names", len(f.words))
	}
	if f.word("uploaded", "") == 0 {
		t.Error("the name of an uploaded capture was refused")
	}
}

// TestRecordingsOfAnAgentAreBounded counts the batches of a day.
func TestRecordingsOfAnAgentAreBounded(t *testing.T) {
	now := &clock{t: start}
	f := openLive(t, now)
	r, err := f.RecordLive(t.Context(), "default", "a", "first")
	must(t, err)
	must(t, r.Close(t.Context(), true))
	for i := range maxLiveADay - 1 {
		must(t, f.countLive("default", "a", fmt.Sprint(i)))
	}
	var quota *QuotaError
	if _, err := f.RecordLive(t.Context(), "default", "a", "one more"); !errors.As(err, &quota) || !strings.Contains(err.Error(), "tomorrow") ||
		quota.RetryAfter <= 0 || quota.RetryAfter > time.Hour {
		t.Errorf("one more: %v", err)
	}
	again, err := f.RecordLive(t.Context(), "default", "a", "first") // its answer was lost
	must(t, err)
	must(t, again.Close(t.Context(), true))
	must(t, f.countLive("default", "b", "one more"))
	now.Add(24 * time.Hour)
	must(t, f.countLive("default", "a", "one more"))
}

// TestABatchThatFoundNoRoomIsNotCounted has an agent try again while the server is busy.
func TestABatchThatFoundNoRoomIsNotCounted(t *testing.T) {
	f := openLive(t, &clock{t: start})
	for range maxRecordings {
		f.slots <- struct{}{}
	}
	for range 3 {
		var busy *BusyError
		if _, err := f.RecordLive(t.Context(), "default", "a", "batch"); !errors.As(err, &busy) {
			t.Fatalf("no room: %v", err)
		}
	}
	<-f.slots
	r, err := f.RecordLive(t.Context(), "default", "a", "batch")
	must(t, err)
	must(t, r.Close(t.Context(), true))
	if n := f.live.recordings["a"]; n != 1 {
		t.Errorf("one batch counts as %d", n)
	}
}

// TestARefusedNameIsNoNames opens the store again after a name was refused: what is unknown has no name.
func TestARefusedNameIsNoNames(t *testing.T) {
	dir := t.TempDir()
	f, err := OpenFlows(t.Context(), FlowsConfig{Dir: dir})
	must(t, err)
	for i := range maxAgentWords {
		f.word(fmt.Sprint("a", i), "a")
	}
	r, err := f.RecordLive(t.Context(), "default", "a", "batch")
	must(t, err)
	if r.word("beyond") != 0 || r.word("a1") == 0 {
		t.Error("a name beyond what an agent may bring was taken, or one that is known was not")
	}
	must(t, r.Close(t.Context(), true))
	must(t, f.Close())
	f, err = OpenFlows(t.Context(), FlowsConfig{Dir: dir})
	must(t, err)
	defer f.Close()
	if words := f.vocabulary(); words[0] != "" || len(words) != 3 || words[2] != "a1" {
		t.Errorf("%q", words)
	}
}
