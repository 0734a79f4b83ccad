package gates

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/picketwatch/picket/registry"
)

// contents are the artifacts of a release as bytes, each mapped once and until the gates are done.
type contents struct {
	open map[string][]byte // by digest
	done []func()
}

// read returns the bytes of an artifact, which were checked against its digest when they came in. Nobody may keep a part
// of them beyond the check.
func (c *check) read(a registry.Artifact) ([]byte, error) {
	if data, ok := c.contents.open[a.SHA256]; ok {
		return data, nil
	}
	path, ok := c.Files[a.SHA256]
	if !ok {
		return nil, fmt.Errorf("the file of %s is not there", label(a))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if size := info.Size(); size != a.Size || size > registry.MaxArtifact {
		return nil, fmt.Errorf("%s has %d bytes, and its descriptor says %d", label(a), size, a.Size)
	}
	if a.Size == 0 {
		return nil, nil
	}
	data, done, err := mapFile(f, a.Size)
	if err != nil {
		return nil, err
	}
	if c.contents.open == nil {
		c.contents.open = map[string][]byte{}
	}
	c.contents.open[a.SHA256], c.contents.done = data, append(c.contents.done, done)
	return data, nil
}

func (c *contents) close() {
	for _, done := range c.done {
		done()
	}
}

// guard runs a reader of hostile bytes that may not expect everything. A file that gets shorter while it is mapped is
// an error too.
func guard(read func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed (%v)", r)
		}
	}()
	read()
	return nil
}
