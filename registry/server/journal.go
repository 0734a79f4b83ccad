package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/picketwatch/picket/registry/internal/durable"
)

// record is a line of the journal. Exactly one of its fields is set.
type record struct {
	Receipt   json.RawMessage `json:"receipt,omitempty"` // as the node signed it
	Review    json.RawMessage `json:"review,omitempty"`  // likewise
	Report    *Report         `json:"report,omitempty"`
	Withdrawn *withdrawal     `json:"withdrawn,omitempty"`
	Read      bool            `json:"read,omitempty"` // somebody has looked at all reports before it
}

// journal is a file of records, a line each, that is only added to.
type journal struct {
	path string
	file *os.File // nil when it could not be opened again after replace
	size int64    // of what is whole
}

const (
	journalFile = "journal.jsonl"
	maxRecord   = 64 << 10
)

// openJournal reads the journal in dir, or makes one. A last line that a crash cut off is dropped: nobody was told that
// it had been taken. Any other line that cannot be read is an error, which somebody has to look at.
func openJournal(dir string, replay func(record) error) (*journal, error) {
	j := &journal{path: filepath.Join(dir, journalFile)}
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	j.file = f
	if err := j.read(replay); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", j.path, err), f.Close())
	}
	if err := f.Truncate(j.size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	_, err = f.Seek(j.size, io.SeekStart)
	return j, err
}

// readJournal reads the journal in dir and leaves it as it is, also while a server writes it.
func readJournal(dir string, each func(record) error) error {
	f, err := os.Open(filepath.Join(dir, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	j := &journal{path: f.Name(), file: f}
	return j.read(each)
}

func (j *journal) read(replay func(record) error) error {
	lines := bufio.NewReaderSize(j.file, maxRecord)
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return nil // what is left has no end, so nobody got an answer for it
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := replay(r); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		j.size += int64(len(line))
	}
}

// add puts records at the end and returns when they are on the disk. What fails leaves the journal as it was.
func (j *journal) add(records ...record) error {
	lines, err := encodeRecords(records)
	if err != nil {
		return err
	}
	if err := j.reopen(); err != nil {
		return err
	}
	_, err = j.file.Write(lines)
	if err == nil {
		err = durable.Step(durable.OpSync, j.path)
	}
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		_, seek := j.file.Seek(j.size, io.SeekStart)
		return errors.Join(fmt.Errorf("write %s: %w", j.path, err), j.file.Truncate(j.size), seek)
	}
	j.size += int64(len(lines))
	return nil
}

func encodeRecords(records []record) ([]byte, error) {
	var b bytes.Buffer
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		if len(line) >= maxRecord {
			return nil, fmt.Errorf("a record of %d bytes is longer than a line of the journal may be", len(line))
		}
		b.Write(append(line, '\n'))
	}
	return b.Bytes(), nil
}

// replace writes the journal anew with these records alone. When it fails, the journal has the lines of before or these.
func (j *journal) replace(records []record) error {
	data, err := encodeRecords(records)
	if err != nil {
		return err
	}
	old := j.file
	j.file = nil // whatever is added from now on must not go into a file that has no name any more
	err = durable.WriteFile(j.path, data, 0o600)
	return errors.Join(err, old.Close(), j.reopen())
}

// reopen opens the file at its end, unless it is open.
func (j *journal) reopen() error {
	if j.file != nil {
		return nil
	}
	f, err := os.OpenFile(j.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.size = f, end
	return nil
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
