package facts

import (
	"bytes"
	"crypto/md5" //nolint:gosec // as the engine
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ftp"
	"github.com/picketwatch/picket/internal/traffic/app/smb"
	"github.com/picketwatch/picket/internal/traffic/app/smtp"
	"github.com/picketwatch/picket/sdk"
)

func attach(name string, data []byte) *smtp.FilePart {
	return &smtp.FilePart{Name: name, First: true, Data: data, Last: true}
}

// What is in a file is told beside it, with both digests, up to a limit.
func TestContents(t *testing.T) {
	m, got := gather(t, sdk.FactsFiles, sdk.FactsContents)
	w := newWire(m, "smtp", 1)
	long := bytes.Repeat([]byte("0123456789abcdef"), sdk.MaxContent/16+1)
	w.say(app.Client, attach("a", []byte("first")))
	w.say(app.Client, attach("b", long))
	w.end()
	flush(t, m)
	if len(got.Contents) != 2 || len(got.Files) != 2 {
		t.Fatalf("%d contents, %d files", len(got.Contents), len(got.Files))
	}
	sum := md5.Sum([]byte("first")) //nolint:gosec // as the engine
	if c, f := got.Contents[0], got.Files[0]; string(c.Data) != "first" || !c.Complete || c.Size != 5 || c.Name != "a" || c.Protocol != "smtp" ||
		c.SHA256 != f.SHA256 || c.SHA256 != digestOf([]byte("first")) || c.MD5 != f.MD5 || c.MD5 != hex.EncodeToString(sum[:]) || c.Packet == 0 {
		t.Errorf("%+v", c)
	}
	if c := got.Contents[1]; !bytes.Equal(c.Data, long[:sdk.MaxContent]) || c.Complete || c.Size != uint64(len(long)) {
		t.Errorf("%d bytes of %d, complete %t", len(c.Data), c.Size, c.Complete)
	}
	if m.held.bytes != 0 || m.ContentsDropped() != 0 {
		t.Errorf("%d bytes are held, %d dropped", m.held.bytes, m.held.dropped)
	}
}

// Without anybody who wants them no bytes are kept and no MD5 is computed, and files need not be wanted for contents to be told.
func TestContentsAlone(t *testing.T) {
	for kind, want := range map[string][2]int{sdk.FactsFiles: {1, 0}, sdk.FactsContents: {0, 1}} {
		m, got := gather(t, kind)
		w := newWire(m, "smtp", 1)
		w.say(app.Client, attach("a", []byte("first")))
		w.end()
		flush(t, m)
		if len(got.Files) != want[0] || len(got.Contents) != want[1] {
			t.Errorf("%s: %d files, %d contents", kind, len(got.Files), len(got.Contents))
		}
		if want[0] == 1 && got.Files[0].MD5 != "" {
			t.Error("an MD5 that nobody wanted")
		}
	}
}

// A form with a password is not shown, an attachment that says the same is.
func TestContentsOfSecrets(t *testing.T) {
	for protocol, want := range map[string]int{"http2": 0, "smtp": 1} {
		m, got := gather(t, sdk.FactsContents)
		w, text := newWire(m, protocol, 1), append([]byte("user=ada&password=hunter2"), make([]byte, 2*typeBytes)...)
		if protocol == "smtp" {
			w.say(app.Client, attach("x", text))
		} else {
			w.exchange(1, "/login", text, nil)
		}
		w.end()
		flush(t, m)
		if len(got.Contents) != want {
			t.Errorf("%s: %d contents", protocol, len(got.Contents))
		}
	}
}

// What is too much at once is dropped and counted: while files are open, and in a second.
func TestTooManyContents(t *testing.T) {
	m, got := gather(t, sdk.FactsFiles, sdk.FactsContents)
	piece := make([]byte, sdk.MaxContent)
	const files = maxContents/sdk.MaxContent + 3
	var wires []wire
	for i := range uint64(files) {
		w := newWire(m, "smtp", i+1)
		w.say(app.Client, &smtp.FilePart{Name: fmt.Sprint(i), First: true, Data: piece})
		wires = append(wires, w)
	}
	if m.held.bytes > maxContents {
		t.Errorf("%d bytes are held", m.held.bytes)
	}
	for _, w := range wires {
		w.say(app.Client, &smtp.FilePart{Last: true})
		w.end()
	}
	flush(t, m)
	if len(got.Files) != files || len(got.Contents) != files-3 || m.ContentsDropped() != 3 || m.held.bytes != 0 {
		t.Errorf("%d files, %d contents, %d dropped, %d held", len(got.Files), len(got.Contents), m.ContentsDropped(), m.held.bytes)
	}

	m, got = gather(t, sdk.FactsContents)
	w := newWire(m, "smtp", 1)
	for range maxPerSecond/sdk.MaxContent + 5 {
		w.flow.Time = 0
		w.say(app.Client, attach("x", piece))
	}
	w.end()
	flush(t, m)
	if n := maxPerSecond / sdk.MaxContent; len(got.Contents) != n || m.ContentsDropped() != 5 {
		t.Errorf("%d contents in a second, want %d; %d dropped", len(got.Contents), n, m.ContentsDropped())
	}
}

// A file of FTP is all there when the server said how long it is; one of SMB when it was read to its end.
func TestWholeFiles(t *testing.T) {
	m, got := gather(t, sdk.FactsFiles)
	for i, last := range []*ftp.FilePart{{Size: 5, Last: true}, {Size: 6, Last: true}, {Last: true}} {
		w := newWire(m, "ftp-data", uint64(i+1))
		w.say(app.Server, &ftp.FilePart{Name: "d/a", First: true, Data: []byte("first")})
		w.say(app.Server, last)
		w.end()
	}
	for i, size := range []uint64{5, 6} {
		w := newWire(m, "smb", uint64(i+10))
		w.say(app.Server, &smb.FilePart{File: 1, Name: `d\b`, Size: size, Data: []byte("first")})
		w.say(app.Client, &smb.FilePart{File: 2, Name: `d\c`, Data: []byte("other")})
		w.say(app.Server, &smb.FilePart{File: 1, Name: `d\b`, Size: size, Last: true})
		w.say(app.Client, &smb.FilePart{File: 2, Name: `d\c`, Last: true})
		w.end()
	}
	flush(t, m)
	var have []string
	for _, f := range got.Files {
		have = append(have, fmt.Sprint(f.Protocol, " ", f.Name, " ", f.Size, " ", f.Complete, " ", f.FromServer))
	}
	want := []string{
		"ftp a 5 true true", "ftp a 5 false true", "ftp a 5 true true",
		"smb b 5 true true", "smb c 5 true false", "smb b 5 false true", "smb c 5 true false",
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("%q", have)
	}
}
