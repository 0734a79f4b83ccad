package plugincmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/picketwatch/picket/registry"
)

// fileLang is for models and data packs, which are not built: their file is taken as it is.
type fileLang struct{}

func (fileLang) name() string { return "file" }

func (fileLang) compile(_ context.Context, _ *builder, t *target) error {
	in, err := os.Open(filepath.Join(t.plugin.src, t.plugin.manifest.File))
	if err != nil {
		return fmt.Errorf("read the file that plugin.yaml names: %w", err)
	}
	defer in.Close()
	out, err := os.Create(t.path)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(in, registry.MaxArtifact+1))
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if n == 0 || n > registry.MaxArtifact {
		return fmt.Errorf("%s has %d bytes; between 1 and %d are allowed", t.plugin.manifest.File, n, registry.MaxArtifact)
	}
	return nil
}

func (fileLang) command(*target) ([]string, error) {
	return nil, errors.New("a model or a data pack is never run; `picket plugin pack` looks at it")
}

func (fileLang) environ() []string { return nil }

func (fileLang) ownTests(*plugin) (*exec.Cmd, error) { return nil, nil }
