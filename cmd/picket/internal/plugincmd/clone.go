package plugincmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// cloner fetches the source that a release names, which may be anything: it is bounded in time and in size, over HTTPS
// only, and nothing of it is run or followed.
type cloner struct {
	patience time.Duration
	limit    int64    // bytes on disk, while it is fetched too
	env      []string // more of it, for tests
}

var fetcher = cloner{patience: 5 * time.Minute, limit: 512 << 20}

func (c cloner) fetch(ctx context.Context, repo, commit, into string) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go c.watch(ctx, into, stop)
	for _, args := range [][]string{
		{"init", "--quiet", into},
		{"-C", into, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", repo, commit},
		{"-C", into, "checkout", "--quiet", "--detach", commit},
	} {
		if err := c.git(ctx, args...); err != nil {
			return err
		}
	}
	return c.fits(into)
}

func (c cloner) git(ctx context.Context, args ...string) error {
	git := exec.CommandContext(ctx, "git", append([]string{
		"-c", "core.hooksPath=" + os.DevNull, "-c", "core.symlinks=false", "-c", "protocol.allow=never", "-c", "protocol.https.allow=always",
		"-c", "http.followRedirects=false", "-c", "gc.auto=0", "-c", "fetch.fsckObjects=true",
	}, args...)...)
	git.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0", "GIT_LFS_SKIP_SMUDGE=1",
	}, c.env...)
	git.WaitDelay = time.Second // its helpers hold its output
	out, err := git.CombinedOutput()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, firstLine(string(bytes.TrimSpace(out))))
	}
	return nil
}

// sizeEvery is how often the size of what is fetched is looked at.
const sizeEvery = 100 * time.Millisecond

// watch ends the fetch when it gets too large: git has no bound of its own for what a server sends.
func (c cloner) watch(ctx context.Context, dir string, stop context.CancelCauseFunc) {
	tick := time.NewTicker(sizeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := c.fits(dir); err != nil {
			stop(err)
			return
		}
	}
}

// maxCloned bounds the number of files: an empty one takes room too.
const maxCloned = 100_000

func (c cloner) fits(dir string) error {
	size, files := int64(0), 0
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // git moves its files about
		}
		if err != nil {
			return err
		}
		if info, err := e.Info(); err == nil && e.Type().IsRegular() {
			size += info.Size()
		}
		if files++; files > maxCloned {
			return fs.SkipAll
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case files > maxCloned:
		return fmt.Errorf("its source has more than %d files", maxCloned)
	case size > c.limit:
		return fmt.Errorf("its source has more than %d MiB", c.limit>>20)
	}
	return nil
}
