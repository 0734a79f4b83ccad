package plugincmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/picketwatch/picket/registry"
)

// pages are the small files beside plugin.yaml that people see.
type pages struct {
	html        []byte // as manifest.page names it
	changelog   []byte
	screenshots []registry.Screenshot
	pictures    [][]byte
	plan        []byte // testdata/kit.json
}

// maxPlan bounds what says how to test a plugin.
const maxPlan = 64 << 10

func readPages(src string, m *registry.Manifest) (p pages, err error) {
	if p.changelog, err = readIf(filepath.Join(src, "CHANGELOG.md"), registry.MaxChangelog); err != nil {
		return p, err
	}
	if p.plan, err = readIf(filepath.Join(src, "testdata", "kit.json"), maxPlan); err != nil {
		return p, err
	}
	if m.Page != "" {
		if p.html, err = readFile(filepath.Join(src, m.Page), registry.MaxPage); err != nil {
			return p, fmt.Errorf("read the page that plugin.yaml names: %w", err)
		}
	}
	for _, s := range m.Screenshots {
		data, err := readFile(filepath.Join(src, s.File), registry.MaxScreenshot)
		if err != nil {
			return p, fmt.Errorf("read the screenshot that plugin.yaml names: %w", err)
		}
		shot, err := registry.ReadScreenshot(s.File, data)
		if err != nil {
			return p, err
		}
		p.screenshots, p.pictures = append(p.screenshots, shot), append(p.pictures, data)
	}
	return p, nil
}

// readIf reads a file that need not be there.
func readIf(path string, most int64) ([]byte, error) {
	data, err := readFile(path, most)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}
