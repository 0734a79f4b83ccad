package footprint

import (
	"debug/elf"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestReadOnlyParts(t *testing.T) {
	const page = 4096
	segment := func(kind elf.ProgType, flags elf.ProgFlag, at, size uint64) *elf.Prog {
		return &elf.Prog{ProgHeader: elf.ProgHeader{Type: kind, Flags: flags, Vaddr: at, Filesz: size}}
	}
	headers := []*elf.Prog{
		segment(elf.PT_PHDR, elf.PF_R, 0x40, 0x310),
		segment(elf.PT_LOAD, elf.PF_R, 0, 0x1800),
		segment(elf.PT_LOAD, elf.PF_R|elf.PF_X, 0x2000, 0x3000),
		segment(elf.PT_LOAD, elf.PF_R, 0x5800, 0x100), // no whole page
		segment(elf.PT_LOAD, elf.PF_R|elf.PF_W, 0x7000, 0x2000),
		segment(elf.PT_NOTE, elf.PF_R, 0x9000, 0x2000),
	}
	got := readOnly(headers, 0x10040, page)
	want := []part{{0x10000, 0x1000}, {0x12000, 0x3000}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %#x, want %#x", got, want)
	}
	if got := readOnly(headers[1:], 0x10040, page); got != nil {
		t.Errorf("nobody knows where the program lies, but %#x is dropped", got)
	}
}

// Settle must leave a program that works as it did, with fewer of its pages in memory.
func TestSettle(t *testing.T) {
	touched := 0
	text := must(os.ReadFile("/proc/self/exe"))
	for _, b := range text {
		touched += int(b)
	}
	before := resident(t)
	Settle()
	after := resident(t)
	if after >= before {
		t.Errorf("%d kB of the program in memory before, %d after", before, after)
	}
	if again := regexp.MustCompile(`^a(b|c)+d$`); !again.MatchString("abcbcd") || touched == 0 {
		t.Error("the program does not work any more")
	}
}

// resident is how much of this program's file is in its memory, in kB.
func resident(t *testing.T) (kB int) {
	t.Helper()
	name := must(os.Readlink("/proc/self/exe"))
	inside := false
	for line := range strings.Lines(string(must(os.ReadFile("/proc/self/smaps")))) {
		if fields := strings.Fields(line); strings.Contains(fields[0], "-") {
			inside = strings.HasSuffix(strings.TrimSpace(line), name) && fields[1][1] == '-'
		} else if inside && fields[0] == "Rss:" {
			kB += must(strconv.Atoi(fields[1]))
		}
	}
	return kB
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
