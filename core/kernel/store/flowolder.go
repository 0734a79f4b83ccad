package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const olderName = "version-%d" // a folder with files of an earlier shape

// setOlderAside moves files of an earlier shape out of the way, and returns what is missing for other reasons, and the folder
// for the frames that belonged to such files, "" when there were none. Captures can be analysed again; what agents sent cannot, and
// lies there for somebody with an older picketd until dropOlder.
func (f *Flows) setOlderAside(missing []error) (others []error, folder string, err error) {
	for _, problem := range missing {
		var older *olderError
		if !errors.As(problem, &older) {
			others = append(others, problem)
			continue
		}
		folder = filepath.Join(f.cfg.Dir, fmt.Sprintf(olderName, older.version))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, "", err
		}
		if err := f.segments.setAside(older.seg, folder); err != nil {
			return nil, "", fmt.Errorf("set flows of an older version aside: %w", err)
		}
		f.cfg.Log.Warn("flows of an older version cannot be read any more and are set aside; analyse their captures again",
			"file", older.seg.path, "version", older.version, "folder", folder)
	}
	return others, folder, nil
}

// dropOlder removes what was set aside before a time: nobody keeps flows for longer than retention says, in no shape.
func (f *Flows) dropOlder(before time.Time) error {
	for version := range flowsVersion {
		folder := filepath.Join(f.cfg.Dir, fmt.Sprintf(olderName, version))
		at, err := os.Stat(folder)
		if err != nil || !at.ModTime().Before(before) {
			continue
		}
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
		f.cfg.Log.Info("flows of an older version are past retention and removed", "folder", folder)
	}
	return nil
}
