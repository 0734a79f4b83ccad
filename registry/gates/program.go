package gates

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"path"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry"
)

// checkProgram looks at an executable for one platform.
func checkProgram(f *finding, a registry.Artifact, data []byte) {
	var arch string
	switch a.OS {
	case "linux", "freebsd", "openbsd", "netbsd":
		arch = checkELF(f, a, data)
	case "darwin":
		file, err := macho.NewFile(bytes.NewReader(data))
		if err != nil {
			f.failf("%s: no Mach-O program: %v", label(a), err)
			return
		}
		arch = map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[file.Cpu]
	case "windows":
		file, err := pe.NewFile(bytes.NewReader(data))
		if err != nil {
			f.failf("%s: no PE program: %v", label(a), err)
			return
		}
		arch = map[uint16]string{pe.IMAGE_FILE_MACHINE_AMD64: "amd64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64", pe.IMAGE_FILE_MACHINE_I386: "386"}[file.Machine]
	default:
		f.lackf("programs for %s cannot be looked at", a.OS)
		return
	}
	if arch != "" && arch != a.Arch {
		f.failf("%s: the program is for %s", label(a), arch)
	}
}

// machines are the architectures by the names that Go gives them.
var machines = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm", elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x",
	elf.EM_PPC64: "ppc64le", elf.EM_LOONGARCH: "loong64",
}

// maxHeaders bounds what an ELF file may announce; ordinary ones have some dozens.
const maxHeaders = 1024

func checkELF(f *finding, a registry.Artifact, data []byte) (arch string) {
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		f.failf("%s: no ELF program: %v", label(a), err)
		return ""
	}
	switch file.Type {
	case elf.ET_EXEC:
		f.notef("%s: loaded at a fixed address (not PIE)", label(a))
	case elf.ET_DYN:
	default:
		f.failf("%s: %v is no program", label(a), file.Type)
	}
	if len(file.Progs) > maxHeaders || len(file.Sections) > maxHeaders {
		f.failf("%s: %d segments and %d sections", label(a), len(file.Progs), len(file.Sections))
		return ""
	}
	for _, p := range file.Progs {
		checkSegment(f, a, p, int64(len(data)))
	}
	checkLinks(f, a, file)
	arch, known := machines[file.Machine]
	if !known {
		f.failf("%s: made for %v", label(a), file.Machine)
	}
	return arch
}

func checkSegment(f *finding, a registry.Artifact, p *elf.Prog, size int64) {
	const writeAndRun = elf.PF_W | elf.PF_X
	switch {
	case p.Type == elf.PT_LOAD && (p.Off > uint64(size) || p.Filesz > uint64(size)-p.Off):
		f.failf("%s: a segment lies beyond the end of the file", label(a))
	case p.Type == elf.PT_LOAD && p.Flags&writeAndRun == writeAndRun:
		f.failf("%s: a segment is writable and executable", label(a))
	case p.Type == elf.PT_GNU_STACK && p.Flags&elf.PF_X != 0:
		f.warnf("%s: its stack is executable", label(a))
	case p.Type == elf.PT_INTERP:
		checkLoader(f, a, p)
	}
}

// loaders are the folders from which a program may be loaded by another one.
var loaders = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/libexec"}

func checkLoader(f *finding, a registry.Artifact, p *elf.Prog) {
	name := make([]byte, min(p.Filesz, 256))
	if _, err := p.ReadAt(name, 0); err != nil {
		f.failf("%s: the name of its loader: %v", label(a), err)
		return
	}
	loader := strings.TrimRight(string(name), "\x00")
	if path.Clean(loader) != loader || !slices.Contains(loaders, path.Dir(loader)) || !strings.HasPrefix(path.Base(loader), "ld") {
		f.failf("%s: it wants to be loaded by %q", label(a), loader)
		return
	}
	f.warnf("%s: not static, it needs %s on the node", label(a), loader)
}

// checkLinks looks at shared libraries: which, and from where.
func checkLinks(f *finding, a registry.Artifact, file *elf.File) {
	libraries, err := file.ImportedLibraries()
	if err != nil {
		f.failf("%s: its list of libraries: %v", label(a), err)
		return
	}
	if len(libraries) > 0 {
		f.warnf("%s: it needs libraries of the node: %s", label(a), strings.Join(libraries[:min(len(libraries), 10)], ", "))
	}
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		paths, err := file.DynString(tag)
		if err != nil {
			f.failf("%s: %v: %v", label(a), tag, err)
		}
		for _, p := range paths {
			f.failf("%s: it looks for libraries in %q", label(a), p)
		}
	}
}
