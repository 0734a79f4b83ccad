package host

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// otherVersion matches what go-plugin says about a plugin of another protocol.
var otherVersion = regexp.MustCompile(`incompatible API version with plugin\. Plugin version: (\d+)`)

// explain says what happened at a start that failed, and what its author can do about it. exited is the exit code of a
// process that has ended, -1 for one that has not.
func explain(err error, exited int) error {
	var code syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &code) && code == syscall.ENOEXEC:
		return fmt.Errorf("%w: it is built for another machine, or is no program: build it for this system and processor", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: it may not be executed: chmod +x it, and see that its file system is not mounted noexec", err)
	}
	if m := otherVersion.FindStringSubmatch(err.Error()); m != nil {
		todo := "it needs a newer Picket, or must be built with an older SDK"
		if n, convErr := strconv.Atoi(m[1]); convErr == nil && n < sdk.Protocol {
			todo = "it is too old: build the plugin anew with a newer SDK"
		}
		return fmt.Errorf("the plugin speaks protocol %s, this host speaks %d: %s", m[1], sdk.Protocol, todo)
	}
	if exited >= 0 && strings.Contains(err.Error(), "Failed to read any lines") {
		return fmt.Errorf("it ended before it answered, with status %d: start it by hand with the argument describe and read what it writes", exited)
	}
	return err
}

// ownExit is the exit code of a process that ended by itself during its start, -1 otherwise.
func (p *Process) ownExit() int {
	p.mu.Lock()
	r := p.runner
	p.mu.Unlock()
	if r == nil || r.pid() == 0 {
		return -1
	}
	select {
	case <-r.exited: // it was killed, if it had not ended before
		return r.exitCode()
	case <-time.After(stopGrace):
		return -1
	}
}
