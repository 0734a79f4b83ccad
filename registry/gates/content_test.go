package gates

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry"
)

// A large artifact is looked at without being read into memory.
func TestLargeArtifactsStayOutOfMemory(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read there")
	}
	const size = 256 << 20
	r := release(t, asData, []byte("x"))
	a := &r.Descriptor.Artifacts[0]
	a.Size = size
	if err := os.Truncate(r.Files[a.SHA256], size); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := run(t, r, Config{})
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > size/8 {
		t.Errorf("%d MiB were allocated for an artifact of %d", used>>20, size>>20)
	}
	wants(t, got, registry.GateSecrets, registry.GateNotChecked, "were searched")
}

// A file that is another than its descriptor says, or gets shorter under the gates, fails them and nothing else.
func TestArtifactsThatChange(t *testing.T) {
	r := release(t, asData, []byte(strings.Repeat("x", 100)))
	a := r.Descriptor.Artifacts[0]
	path := r.Files[a.SHA256]
	if err := os.Truncate(path, 50); err != nil {
		t.Fatal(err)
	}
	wants(t, run(t, r, Config{}), registry.GateArchive, registry.GateFailed, "50 bytes")
	delete(r.Files, a.SHA256)
	wants(t, run(t, r, Config{}), registry.GateArchive, registry.GateFailed, "not there")

	if runtime.GOOS != "linux" {
		t.Skip("what is mapped and gone shows itself differently elsewhere")
	}
	r = release(t, asData, make([]byte, 1<<20))
	c := &check{Release: r}
	defer c.contents.close()
	data, err := c.read(r.Descriptor.Artifacts[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(r.Files[r.Descriptor.Artifacts[0].SHA256], 0); err != nil {
		t.Fatal(err)
	}
	sum := 0
	err = guard(func() {
		for _, b := range data {
			sum += int(b)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("%d, %v", sum, err)
	}
}
