package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const olderName = "version-%d" // a folder with files of an earlier shape

// sortOut tells what is missing because it has an earlier shape from what is missing for other reasons.
func sortOut(missing []error) (older []*olderError, others []error) {
	for _, problem := range missing {
		var x *olderError
		if errors.As(problem, &x) {
			older = append(older, x)
		} else {
			others = append(others, problem)
		}
	}
	return older, others
}

// setOlderAside moves files of an earlier shape out of the way, with the frames that belong to them. Captures can be analysed
// again; what agents sent cannot, and lies there for somebody with an older picketd until dropOlder. The frames go first: a crash
// in between leaves the file that says, at the next start, that they are not to be removed.
func (f *Flows) setOlderAside(older []*olderError) error {
	for _, x := range older {
		folder := filepath.Join(f.cfg.Dir, fmt.Sprintf(olderName, x.version))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		if err := f.sweep(true, folder); err != nil {
			return err
		}
		if err := errors.Join(syncDir(folder), syncDir(f.cfg.Dir)); err != nil {
			return err
		}
		if err := f.segments.setAside(x.seg, folder); err != nil {
			return fmt.Errorf("set flows of an older version aside: %w", err)
		}
		f.cfg.Log.Warn("flows of an older version cannot be read any more and are set aside; analyse their captures again",
			"file", x.seg.path, "version", x.version, "folder", folder)
	}
	return nil
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
