package core

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"

	"github.com/picketwatch/picket/sdk"
)

// told remembers what the other side took from the moment it said so until that is in the control state. Writing there waits its turn
// and for the disk; one line at the end of a file does not, so a server that is killed in between sends next to nothing twice.
type told struct {
	mu       sync.Mutex // guards what follows
	file     *os.File
	receipts map[string]sdk.Receipt // by notice, those that the control state does not have yet
}

type toldLine struct {
	Notice  string      `json:"notice"`
	Receipt sdk.Receipt `json:"receipt"`
}

func openTold(path string) (*told, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("remember deliveries: %w", err)
	}
	t := &told{file: f, receipts: map[string]sdk.Receipt{}}
	lines, whole := bufio.NewReader(f), int64(0)
	for {
		text, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // a line without its end was never written to the end, and the next must not go on with it
			if err := f.Truncate(whole); err != nil {
				f.Close()
				return nil, fmt.Errorf("remember deliveries: %w", err)
			}
			return t, nil
		}
		whole += int64(len(text))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("remember deliveries: %w", err)
		}
		var l toldLine
		if json.Unmarshal(text, &l) == nil && l.Notice != "" {
			t.receipts[l.Notice] = l.Receipt
		}
	}
}

// took notes that the other side took a notice.
func (t *told) took(notice string, r sdk.Receipt) error {
	line, err := json.Marshal(toldLine{notice, r})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.receipts[notice] = r
	_, err = t.file.Write(append(line, '\n'))
	return err
}

func (t *told) receipt(notice string) (r sdk.Receipt, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok = t.receipts[notice]
	return r, ok
}

func (t *told) all() map[string]sdk.Receipt {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.receipts)
}

// settled forgets a notice that the control state has. The file is empty whenever nothing is on its way.
func (t *told) settled(notice string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.receipts, notice)
	if len(t.receipts) > 0 {
		return nil
	}
	return t.file.Truncate(0)
}

func (t *told) close() error { return t.file.Close() }
