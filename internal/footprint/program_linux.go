package footprint

import (
	"debug/elf"

	"golang.org/x/sys/unix"
)

// auxHeaders is AT_PHDR of elf.h: what the kernel says of where the program's headers lie.
const auxHeaders = 3

// forgetProgram drops the pages of the parts of the program's file that nothing can write: what is dropped of them is in the file.
// What the loader writes before it is locked lies in a writable part, so it stays. What cannot be found out leaves all as it is.
func forgetProgram() {
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		return
	}
	defer file.Close()
	pairs, err := unix.Auxv()
	if err != nil {
		return
	}
	for _, p := range pairs {
		if p[0] == auxHeaders {
			for _, x := range readOnly(file.Progs, uint64(p[1]), uint64(unix.Getpagesize())) {
				_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(x.start), uintptr(x.size), unix.MADV_DONTNEED)
			}
		}
	}
}

// part is memory of whole pages.
type part struct{ start, size uint64 }

// readOnly are the whole pages of the parts that are mapped from the file and not writable. The headers lie at the given address,
// which says how far the program was moved.
func readOnly(headers []*elf.Prog, at, page uint64) (out []part) {
	var moved uint64
	found := false
	for _, h := range headers {
		if h.Type == elf.PT_PHDR {
			moved, found = at-h.Vaddr, true
		}
	}
	for _, h := range headers {
		if !found || h.Type != elf.PT_LOAD || h.Flags&elf.PF_W != 0 {
			continue
		}
		start := (moved + h.Vaddr + page - 1) &^ (page - 1)
		end := (moved + h.Vaddr + h.Filesz) &^ (page - 1)
		if start < end {
			out = append(out, part{start, end - start})
		}
	}
	return out
}
