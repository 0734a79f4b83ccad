// Package web holds the built pages. In goes what `npm run build` left in dist; out comes one file system with
// index.html at its root, which core/kernel/api serves. A fresh clone has no build, and then one small page says so:
// the Go build never needs Node.
package web

import (
	"embed"
	"io/fs"
)

// dist holds only .gitkeep in a fresh clone; the build writes beside it and git ignores what it writes.
//
//go:embed all:dist
var dist embed.FS

//go:embed placeholder
var placeholder embed.FS

// FS holds the pages: index.html at the root, and hashed files, which may be cached for ever, under assets/.
// Any other path that is not found belongs to the app's own router: answer it with index.html.
var FS = files()

// Built reports whether the pages were built in, as opposed to the placeholder.
func Built() bool {
	_, err := fs.Stat(dist, "dist/index.html")
	return err == nil
}

func files() fs.FS {
	tree, root := dist, "dist"
	if !Built() {
		tree, root = placeholder, "placeholder"
	}
	sub, err := fs.Sub(tree, root)
	if err != nil {
		panic("web: " + err.Error()) // both names are valid paths, so this cannot happen
	}
	return sub
}
