package facts

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/sdk"
)

// carved are the files in the captures of testdata/files, made by its script with real clients and servers.
func carved(t *testing.T, path string) []sdk.Content {
	t.Helper()
	m, got := gather(t, sdk.FactsFiles, sdk.FactsContents)
	analyse(t, m, path, func([]sdk.Flow) error { return nil })
	flush(t, m)
	if len(got.Files) != len(got.Contents) {
		t.Errorf("%s: %d files, %d contents", path, len(got.Files), len(got.Contents))
	}
	for i, c := range got.Contents {
		if f := got.Files[i]; c.SHA256 != f.SHA256 || c.MD5 != f.MD5 || digestOf(c.Data) != c.SHA256 || c.Seen != f.Seen {
			t.Errorf("%s: %s: %+v beside %+v", path, c.Name, c.Seen, f)
		}
	}
	return got.Contents
}

func captures(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/files/*.pcap")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	return files
}

// Each file that was transferred by HTTP, FTP or SMB is there as its sender had it.
func TestCarvedFiles(t *testing.T) {
	const (
		eicar   = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
		upload  = "uploaded"
		fetched = "fetched"
	)
	want := map[string][]string{
		"http-get": {"eicar.com fetched"}, "http-late": {"late.bin fetched"}, "http-gzip": {"late.bin fetched"}, "http-chunks": {"late.bin fetched"},
		"http-query": {"eicar.com fetched"}, "http-put": {"eicar.com uploaded"}, "http-form": {"up uploaded"},
		"http-kept": {"note.txt fetched", "eicar.com fetched", "words.txt fetched"}, "http-big": {"big.bin fetched"}, "http-zip": {"stored.zip fetched"},
		"http-range": {"eicar.com fetched"}, "http-benign": {"words.txt fetched"},
		"ftp-passive": {"eicar.com fetched"}, "ftp-passive-old": {"late.bin fetched"}, "ftp-active": {"eicar.com fetched"},
		"ftp-active-new": {"program.exe fetched"}, "ftp-upload": {"sample.com uploaded"}, "ftp-list": nil, "ftp-big": {"big.bin fetched"},
		"ftp-several": {"note.txt fetched", "eicar.com fetched", "words.txt fetched"},
		"smb-get":     {"eicar.com fetched"}, "smb-get2": {"late.bin fetched"}, "smb-put": {"other.com uploaded"}, "smb-big": {"big.bin fetched"},
		"smb-put-big": {"big.bin uploaded"}, "smb-several": {"note.txt fetched", "eicar.com fetched", "program.exe fetched"}, "smb-list": nil,
		"smb-benign": {"words.txt fetched"},
	}
	sums := map[string]string{"eicar.com": eicar, "sample.com": eicar, "other.com": eicar}
	for _, path := range captures(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".pcap")
		var have []string
		for _, c := range carved(t, path) {
			way := upload
			if c.FromServer != strings.HasPrefix(name, "ftp-active") { // there the server opens the connection
				way = fetched
			}
			have = append(have, c.Name+" "+way)
			if known := sums[c.Name]; known != "" && known != c.SHA256 || !c.Complete {
				t.Errorf("%s: %s has %s, complete %t", name, c.Name, c.SHA256, c.Complete)
			}
			sums[c.Name] = c.SHA256
			if protocol, _, _ := strings.Cut(name, "-"); c.Protocol != protocol {
				t.Errorf("%s: %s came by %s", name, c.Name, c.Protocol)
			}
		}
		if !slices.Equal(have, want[name]) {
			t.Errorf("%s: %q, want %q", name, have, want[name])
		}
	}
}

// exported are the digests of the files that tshark takes out of a capture, sorted.
func exported(t *testing.T, path string) []string {
	t.Helper()
	protocol, _, _ := strings.Cut(filepath.Base(path), "-")
	if protocol == "ftp" {
		return ftpStreams(t, path)
	}
	program, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("no tshark here")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), program, "-n", "-q", "-r", path, "--export-objects", protocol+","+dir).CombinedOutput(); err != nil {
		t.Fatalf("tshark: %v: %s", err, out)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var sums []string
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 0 {
			sums = append(sums, digestOf(data))
		}
	}
	slices.Sort(sums)
	return sums
}

// ftpStreams joins what tshark takes for the data of FTP, by connection. Listings are not told apart.
func ftpStreams(t *testing.T, path string) []string {
	t.Helper()
	streams := map[string][]byte{}
	for _, row := range apptest.Tshark(t, path, "ftp-data", "tcp.stream", "tcp.payload") {
		data, err := hex.DecodeString(strings.Join(row[1], ""))
		if err != nil {
			t.Fatal(err)
		}
		streams[row[0][0]] = append(streams[row[0][0]], data...)
	}
	var sums []string
	for _, data := range streams {
		sums = append(sums, digestOf(data))
	}
	slices.Sort(sums)
	return sums
}

// tshark takes the same files out of the captures.
func TestCarvedAsTshark(t *testing.T) {
	compared := 0
	for _, path := range captures(t) {
		if strings.Contains(path, "ftp-list") {
			continue
		}
		var ours []string
		for _, c := range carved(t, path) {
			ours = append(ours, c.SHA256)
		}
		slices.Sort(ours)
		if theirs := exported(t, path); !slices.Equal(ours, theirs) {
			t.Errorf("%s: %q, tshark has %q", path, ours, theirs)
		}
		compared += len(ours)
	}
	t.Logf("%d files", compared)
}
