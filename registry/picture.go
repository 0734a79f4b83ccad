package registry

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"strings"

	"golang.org/x/image/webp"
)

// The bounds of a screenshot.
const (
	MaxScreenshot     = 512 << 10
	maxScreenshotSide = 8192
)

// Screenshot names a picture in the store.
type Screenshot struct {
	File   string `json:"file"` // as the manifest calls it
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

// The types of pictures, as a server names them.
const (
	typePNG  = "image/png"
	typeWebP = "image/webp"
)

// pictureType returns the type that a file's name promises, "" for none that is allowed.
func pictureType(name string) string {
	switch {
	case strings.HasSuffix(name, ".png"):
		return typePNG
	case strings.HasSuffix(name, ".webp"):
		return typeWebP
	}
	return ""
}

// ReadScreenshot looks at the header of a picture: what it is and how large it says to be. Nothing is unpacked.
func ReadScreenshot(name string, data []byte) (s Screenshot, err error) {
	defer func() { // the header is hostile and its readers are not ours
		if r := recover(); r != nil {
			err = fmt.Errorf("screenshot %s: malformed (%v)", name, r)
		}
	}()
	if len(data) > MaxScreenshot {
		return Screenshot{}, fmt.Errorf("screenshot %s: %d bytes, at most %d are allowed", name, len(data), MaxScreenshot)
	}
	var config image.Config
	switch pictureType(name) {
	case typePNG:
		config, err = png.DecodeConfig(bytes.NewReader(data))
	case typeWebP:
		config, err = webp.DecodeConfig(bytes.NewReader(data))
	default:
		err = errors.New("neither .png nor .webp")
	}
	if err != nil {
		return Screenshot{}, fmt.Errorf("screenshot %s: %w", name, err)
	}
	s = Screenshot{File: name, SHA256: Digest(data), Size: int64(len(data)), Width: config.Width, Height: config.Height}
	if err := s.check(); err != nil {
		return Screenshot{}, fmt.Errorf("screenshot %s: %w", name, err)
	}
	return s, nil
}

func (s Screenshot) check() error {
	var p problems
	p.add(ValidDigest(s.SHA256), "sha256: not a SHA-256")
	p.add(s.Size > 0 && s.Size <= MaxScreenshot, "size: must be between 1 and %d", MaxScreenshot)
	side := func(n int) bool { return n >= 1 && n <= maxScreenshotSide }
	p.add(side(s.Width) && side(s.Height), "width, height: %d×%d is not between 1 and %d", s.Width, s.Height, maxScreenshotSide)
	return p.join()
}

// ContentType is how a server names the picture's type.
func (s Screenshot) ContentType() string { return pictureType(s.File) }
