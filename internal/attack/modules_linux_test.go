package attack

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
)

// Guests that no compiler of ours makes, put together byte by byte.

// leb is a number as WASM writes it.
func leb(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func uleb(n int) []byte {
	var out []byte
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}

func vector(parts ...[]byte) []byte {
	return append(uleb(len(parts)), slices.Concat(parts...)...)
}

func named(s string) []byte { return append(uleb(len(s)), s...) }

func section(id byte, body []byte) []byte {
	return slices.Concat([]byte{id}, uleb(len(body)), body)
}

// guest has the exports of a plugin. alloc and call are what these functions do, imports are module.name of functions.
func guest(alloc, call []byte, imports ...string) []byte {
	return guestOf([]byte{0, 2}, alloc, call, imports...)
}

// bigGuest has 208 MiB of memory.
func bigGuest(alloc, call []byte) []byte {
	return guestOf(append([]byte{0}, uleb(208<<20/65536)...), alloc, call)
}

func guestOf(memory, alloc, call []byte, imports ...string) []byte {
	const i32, i64 = 0x7f, 0x7e
	types := vector(
		[]byte{0x60, 0, 0},                     // nothing
		[]byte{0x60, 1, i32, 1, i32},           // alloc
		[]byte{0x60, 1, i32, 0},                // free
		[]byte{0x60, 3, i32, i32, i32, 1, i64}, // call
	)
	var imported [][]byte
	for _, name := range imports {
		module, field, _ := strings.Cut(name, ".")
		imported = append(imported, slices.Concat(named(module), named(field), []byte{0, 0}))
	}
	first := len(imports)
	body := func(code []byte) []byte {
		code = slices.Concat([]byte{0}, code, []byte{0x0b})
		return append(uleb(len(code)), code...)
	}
	export := func(name string, kind byte, index int) []byte {
		return slices.Concat(named(name), []byte{kind}, uleb(index))
	}
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, types), section(2, vector(imported...)), section(3, vector([]byte{0}, []byte{1}, []byte{2}, []byte{3})),
		section(5, vector(memory)),
		section(7, vector(export("memory", 2, 0), export("_initialize", 0, first), export("picket_alloc", 0, first+1), export("picket_free", 0, first+2), export("picket_call", 0, first+3))),
		section(10, vector(body(nil), body(alloc), body(nil), body(call))))
}

func constant32(n int64) []byte { return append([]byte{0x41}, leb(n)...) }
func constant64(n int64) []byte { return append([]byte{0x42}, leb(n)...) }

// answer is what picket_call gives: a place and a length.
func answer(at, length uint32) []byte { return constant64(int64(uint64(at)<<32 | uint64(length))) }

var fine = constant32(1024)

// strange runs a guest that must not come to life. Naked, its bytes are what any runner would take: they are valid.
func strange(t *testing.T, guests map[string][]byte, action string, says ...string) {
	t.Helper()
	for name, module := range guests {
		t.Run(name, func(t *testing.T) {
			crime{attack: "nothing", start: true, change: change{shelf: &shelf{guest: module}, config: func(c *pluginhost.Config) {
				shortDeadlines(c)
				c.Deadlines.Configure = 2 * time.Second
			}}, act: func(a *arena) {
				a.t.Helper()
				st := a.until("villain", "not to start", func(s pluginhost.Status) bool {
					return s.State == pluginhost.Backoff || s.State == pluginhost.Refused || s.State == pluginhost.Quarantined
				})
				if !slices.ContainsFunc(says, func(text string) bool { return strings.Contains(st.Reason, text) }) {
					a.t.Errorf("the reason is %q, want one of %q", st.Reason, says)
				}
				a.t.Log(st.State, st.Reason)
				if action == "" {
					a.auditedAny(says...)
				} else {
					a.audited(line{action, says[0]})
				}
				must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour}))
			}}.run(t, wasm)
		})
	}
}

// Whatever a guest could want of the kernel it would have to import.
func TestAttackUnknownImportsWASM(t *testing.T) {
	guests := map[string][]byte{}
	for _, name := range []string{"env.system", "env.ptrace", "env.fork", "env.kill", "wasi.thread-spawn", "picket.exec", "picket.listen", "wasi_unstable.path_open", "wasi_snapshot_preview2.tcp", "env.dlopen"} {
		guests[strings.ReplaceAll(name, ".", "-")] = guest(fine, answer(0, 0), name)
	}
	strange(t, guests, "plugin.refused", "which this runner does not offer")
}

func TestAttackBadPointersWASM(t *testing.T) {
	strange(t, map[string][]byte{
		"answer-beyond-memory": guest(fine, answer(0xffff0000, 100)),
		"answer-over-the-end":  guest(fine, answer(0x1fff0, 0x100)),
		"huge-answer":          guest(fine, answer(0, 0xffffffff)),
		"request-beyond":       guest(constant32(-16), answer(0, 0)),
		"no-room":              guest(constant32(0), answer(0, 0)),
		"nonsense":             guest(fine, answer(4096, 50)),
		"trap":                 guest(fine, []byte{0x00}),
		// call itself for ever
		"endless-recursion": guest(fine, []byte{0x20, 0, 0x20, 1, 0x20, 2, 0x10, 3}),
	}, "", "outside of its", "at most", "no memory for a request", "the guest's answer", "trapped", "unreachable", "stack overflow", "exited with status 3")
}

// An endless loop before the first call, which nobody asked for yet.
func TestAttackLoopAtStartWASM(t *testing.T) {
	loop := []byte{0x03, 0x40, 0x0c, 0, 0x0b, 0x00} // loop br 0 end unreachable
	strange(t, map[string][]byte{"in-call": guest(fine, loop), "in-alloc": guest(loop, answer(0, 0))}, "", "did not", "within", "deadline", "exited with status 4", "timeout")
}

// A file that is no guest at all.
func TestAttackNoGuestWASM(t *testing.T) {
	elf, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	strange(t, map[string][]byte{
		"an-elf-program": elf[:1<<20], "random": []byte("\x00asm\x01\x00\x00\x00garbage garbage garbage"), "empty": {0},
	}, "plugin.refused", "it is no guest that this version runs")
}
