package gpu

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/gpu") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

// tree is a machine with files below the folder of its cards.
func tree(files map[string]string) func(string) (fs.File, error) {
	m := fstest.MapFS{}
	for name, text := range files {
		m["sys/class/drm/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return func(name string) (fs.File, error) { return m.Open(strings.TrimPrefix(name, "/")) }
}

func collect(t *testing.T, open func(string) (fs.File, error)) (plugintest.Readings, error) {
	t.Helper()
	c := New()
	c.open = open
	plugintest.Start(t, c, `{}`)
	var got plugintest.Readings
	err := c.Collect(t.Context(), sdk.CollectRequest{}, &got)
	return got, err
}

func TestCollect(t *testing.T) {
	got, err := collect(t, tree(map[string]string{
		"card0/device/vendor": "0x8086\n", // somebody else's
		"card1/device/vendor": "0x1002\n", "card1/device/product_name": "Radeon RX 6700 XT\n", "card1/device/gpu_busy_percent": "37\n",
		"card1/device/mem_info_vram_total": "12868124672\n", "card1/device/mem_info_vram_used": "1608515584\n",
		"card1/device/hwmon/hwmon5/name": "amdgpu\n", "card1/device/hwmon/hwmon5/power1_average": "42000000\n",
		"card3/device/vendor": "0x1002\n", "card3/device/mem_info_vram_total": "536870912\n", // an old one that tells little
		"card3/device/hwmon/hwmon0/name": "amdgpu\n", "card3/device/hwmon/hwmon0/power1_input": "7500000\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	one := " hw.id=card1 hw.name=Radeon RX 6700 XT"
	got.Want(t, map[string]float64{
		"hw.gpu.utilization" + one: 0.37, "hw.gpu.memory.usage" + one: 1608515584, "hw.gpu.memory.limit" + one: 12868124672,
		"hw.gpu.memory.utilization" + one: 0.125, "hw.power" + one + " hw.type=gpu": 42,
		"hw.gpu.memory.limit hw.id=card3": 536870912, "hw.power hw.id=card3 hw.type=gpu": 7.5,
	}, "hw.vendor=AMD")
}

func TestNothingThere(t *testing.T) {
	if got, err := collect(t, tree(nil)); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// What makes no sense is left out and told; the rest is measured.
func TestOddCards(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no number":       {"card0/device/gpu_busy_percent": "-1"},
		"too large":       {"card0/device/mem_info_vram_used": "99999999999999999999"},
		"more than there": {"card0/device/mem_info_vram_used": "2000"},
		"over 100 %":      {"card0/device/gpu_busy_percent": "255"},
	} {
		files["card0/device/vendor"], files["card0/device/mem_info_vram_total"] = "0x1002", "1000"
		got, err := collect(t, tree(files))
		if (sdk.ClassOf(err) == sdk.Downstream) != (name == "no number" || name == "too large") || got.Value("hw.gpu.memory.limit hw.id=card0 hw.vendor=AMD") != 1000 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		for _, s := range got {
			if strings.Contains(s.Metric, "utilization") {
				t.Errorf("%s: %s", name, s.Metric)
			}
		}
	}
	asleep := func(name string) (fs.File, error) {
		if strings.HasSuffix(name, "card0/device/gpu_busy_percent") {
			return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EPERM}
		}
		return tree(map[string]string{"card0/device/vendor": "0x1002", "card0/device/mem_info_vram_total": "1000"})(name)
	}
	if got, err := collect(t, asleep); !errors.Is(err, fs.ErrPermission) || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzNumber(f *testing.F) {
	f.Add("37\n")
	f.Add("\x00-1e9")
	f.Fuzz(func(t *testing.T, text string) {
		r := reader{open: tree(map[string]string{"card0/device/x": text}), dir: "/sys/class/drm/card0/device/"}
		if n, ok := r.number("x"); ok && (n < 0 || r.err != nil) {
			t.Errorf("%q: %v, %v", text, n, r.err)
		}
	})
}
