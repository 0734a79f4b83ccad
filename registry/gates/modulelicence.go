package gates

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"
)

// goLicence reads the licence of a module in the module cache, "" when it is not there or not a known text.
func (c *check) goLicence(p part) string {
	if c.cfg.ModuleCache == "" || p.own() {
		return ""
	}
	path, err := module.EscapePath(p.Name)
	if err != nil {
		return ""
	}
	version, err := module.EscapeVersion(p.Version)
	if err != nil {
		return ""
	}
	dir := filepath.Join(c.cfg.ModuleCache, filepath.FromSlash(path)+"@"+version)
	for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING", "License", "UNLICENSE"} {
		if data, err := readSome(filepath.Join(dir, name), 128<<10); err == nil {
			return licenceOfText(string(data))
		}
	}
	return ""
}

func readSome(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, most)
	n, err := f.Read(data)
	return data[:n], err
}

// licenceTexts are sentences that stand in one licence only, the more particular first.
var licenceTexts = []struct{ id, sentence string }{
	{"AGPL-3.0-only", "gnu affero general public license version 3"},
	{"LGPL-3.0-only", "gnu lesser general public license version 3"},
	{"LGPL-2.1-only", "gnu lesser general public license version 2.1"},
	{"GPL-3.0-only", "gnu general public license version 3"},
	{"GPL-2.0-only", "gnu general public license version 2"},
	{"MPL-2.0", "mozilla public license version 2.0"},
	{"MPL-2.0", "mozilla public license, version 2.0"},
	{"Apache-2.0", "apache license version 2.0"},
	{"Unlicense", "this is free and unencumbered software released into the public domain"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose with or without fee"},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"BSD-3-Clause", "may be used to endorse or promote products derived from"},
	{"BSD-2-Clause", "redistributions in binary form must reproduce the above copyright notice"},
}

// licenceOfText tells a licence by its words. Line breaks differ between copies, so they count as spaces.
func licenceOfText(text string) string {
	words := strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, l := range licenceTexts {
		if strings.Contains(words, l.sentence) {
			return l.id
		}
	}
	return ""
}
