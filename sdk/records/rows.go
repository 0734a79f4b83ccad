package records

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/picketwatch/picket/sdk"
)

// writer builds one frame at the end of buf.
type writer struct {
	layout layout
	buf    []byte
	start  int // of the frame
	heap   int // of its heap
	row    int // being written
	count  int
	pairs  []Text // of the map being written
	given  []Text // stand in the place of the row's map
	words  *words // nil when each text is written where it is needed
	shared int    // bytes of texts that lie in the frame for another row
}

func (l layout) newWriter(dst []byte, count int) writer {
	start := len(dst)
	fixed := headerSize + count*l.rowSize
	if cap(dst)-start < fixed {
		dst = slices.Grow(dst, fixed+count*64) // 64: a community id and a few packet numbers
	}
	dst = dst[:start+fixed] // every byte of it is written, by the rows and by finish
	return writer{layout: l, buf: dst, start: start, heap: start + fixed, row: start + headerSize, count: count}
}

// finish writes the header and returns the whole buffer.
func (w *writer) finish() []byte {
	frame := w.finishLocal()[w.start:]
	binary.LittleEndian.PutUint32(frame[crcAt:], checksum(frame))
	return w.buf
}

// finishLocal is finish without the checksum.
func (w *writer) finishLocal() []byte {
	frame := w.buf[w.start:]
	copy(frame, magic)
	binary.LittleEndian.PutUint16(frame[4:], w.layout.schema)
	binary.LittleEndian.PutUint16(frame[6:], w.layout.major)
	binary.LittleEndian.PutUint32(frame[8:], uint32(w.layout.rowSize))
	binary.LittleEndian.PutUint32(frame[12:], uint32(w.count))
	binary.LittleEndian.PutUint32(frame[16:], uint32(w.heap-w.start))
	binary.LittleEndian.PutUint32(frame[20:], uint32(len(frame)))
	clear(frame[24:headerSize]) // reserved, and the checksum
	return w.buf
}

// ref is a heap offset in the low half and a length in the high one.
func (w *writer) ref(length int) uint64 {
	return uint64(uint32(len(w.buf)-w.heap)) | uint64(length)<<32
}

func (w *writer) text(s string) uint64 {
	if s == "" {
		return 0
	}
	if w.words != nil && len(s) <= maxWord {
		return w.word(s)
	}
	return w.newText(s)
}

func (w *writer) newText(s string) uint64 {
	ref := w.ref(len(s))
	w.buf = append(w.buf, s...)
	return ref
}

func (w *writer) u64s(list []uint64) uint64 {
	if len(list) == 0 {
		return 0
	}
	ref := w.ref(len(list))
	if littleEndian {
		w.buf = append(w.buf, unsafe.Slice((*byte)(unsafe.Pointer(&list[0])), 8*len(list))...)
		return ref
	}
	for _, v := range list {
		w.buf = binary.LittleEndian.AppendUint64(w.buf, v)
	}
	return ref
}

func (w *writer) bytes(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	ref := w.ref(len(b))
	w.buf = append(w.buf, b...)
	return ref
}

// textEntry is the size of one entry of a map of texts: the references of key and value.
const textEntry = 16

// texts writes the entries ordered by key, so that equal maps give equal bytes.
func (w *writer) texts(m map[string]string) uint64 {
	pairs := w.given
	if len(m) > 0 {
		pairs = w.ordered(m)
	}
	if len(pairs) == 0 {
		return 0
	}
	ref := w.ref(len(pairs))
	at := len(w.buf)
	w.extend(len(pairs) * textEntry)
	for i := range pairs {
		k, v := w.text(pairs[i].Key), w.text(pairs[i].Value)
		binary.LittleEndian.PutUint64(w.buf[at:], k)
		binary.LittleEndian.PutUint64(w.buf[at+8:], v)
		at += textEntry
	}
	return ref
}

func (w *writer) ordered(m map[string]string) []Text {
	w.pairs = w.pairs[:0]
	for key, value := range m {
		w.pairs = append(w.pairs, Text{key, value})
	}
	slices.SortFunc(w.pairs, func(a, b Text) int { return strings.Compare(a.Key, b.Key) })
	return w.pairs
}

// extend appends n bytes that are to be written.
func (w *writer) extend(n int) {
	w.buf = slices.Grow(w.buf, n)
	w.buf = w.buf[:len(w.buf)+n]
}

// refSize is the size of one entry of a list of texts: its reference.
const refSize = 8

func (w *writer) textList(list []string) uint64 {
	if len(list) == 0 {
		return 0
	}
	ref := w.ref(len(list))
	at := len(w.buf)
	w.extend(len(list) * refSize)
	for _, s := range list {
		text := w.text(s)
		binary.LittleEndian.PutUint64(w.buf[at:], text)
		at += refSize
	}
	return ref
}

// reader resolves the references of one frame. After its first error it answers with nothing.
type reader struct {
	heap   []byte
	arena  []byte // where texts are copied to, as they outlive the frame; what lies there is never written again
	copied int    // bytes of the texts and byte strings of this frame so far
	shared int    // of those that are told again
	texts  string // the whole heap, once texts turn out to share their bytes
	listed int    // bytes of the heap that lists and maps have used
	inside bool   // texts are parts of the heap itself
	maps   *maps  // are filled again; nil: each is one of its own or, where texts are parts of the heap, is only looked at
	err    error
	known  knownWords
}

func (r *reader) open(heap []byte) {
	r.heap = heap
	if r.maps != nil {
		r.maps.begin()
	}
	if r.inside {
		r.texts = unsafe.String(unsafe.SliceData(heap), len(heap))
	}
}

// arenaSize is small enough that a text that somebody keeps does not keep much else.
const arenaSize = 16 << 10

// span checks a reference and returns its bounds in the heap.
func (r *reader) span(ref uint64, size int) (start, length int) {
	at, n := uint64(uint32(ref)), ref>>32
	if at+n*uint64(size) > uint64(len(r.heap)) {
		r.outside(ref, size)
		return 0, 0
	}
	return int(at), int(n)
}

func (r *reader) outside(ref uint64, size int) {
	if r.err == nil {
		r.err = frameError("a reference to %d x %d bytes at %d leaves the heap of %d", ref>>32, size, uint32(ref), len(r.heap))
	}
}

// text copies a text. Nearly all lie inside the heap, share nothing, and have room; see oddText for the others.
func (r *reader) text(ref uint64) string {
	start, n := uint64(uint32(ref)), ref>>32
	if ref == 0 {
		return ""
	}
	if end := start + n; r.inside && end <= uint64(len(r.texts)) && r.copied+int(n) <= MaxFrame && r.err == nil {
		r.copied += int(n)
		return r.texts[start:end]
	}
	if n == 0 || n > uint64(cap(r.arena)-len(r.arena)) || start+n > uint64(len(r.heap)) || r.copied+int(n) > len(r.heap) || r.copied+r.shared+int(n) > MaxFrame || r.texts != "" || r.err != nil {
		return r.oddText(ref)
	}
	r.copied += int(n)
	return r.copyText(r.heap[start : start+n])
}

// oddText is text for any reference.
func (r *reader) oddText(ref uint64) string {
	start, n := r.span(ref, 1)
	if n == 0 || r.err != nil || !r.holds(n) {
		return ""
	}
	if r.texts != "" {
		return r.texts[start : start+n]
	}
	if r.copied > len(r.heap) { // rows that share a long text could turn a small frame into a huge result
		r.texts = string(r.heap)
		return r.texts[start : start+n]
	}
	if n > cap(r.arena)-len(r.arena) {
		r.arena = make([]byte, 0, max(n, min(arenaSize, len(r.heap))))
	}
	return r.copyText(r.heap[start : start+n])
}

// holds counts the bytes of texts and byte strings. Rows may share them, and cost no memory then; but whoever writes them out,
// as JSON or into another frame, writes each, so that together they stay below the largest frame.
func (r *reader) holds(n int) bool {
	if r.copied += n; r.copied+r.shared > MaxFrame && r.err == nil {
		r.err = frameError("its texts together are longer than %d bytes", MaxFrame)
	}
	return r.err == nil
}

// copyText copies a text, which is not empty, to the arena, which has room. Most texts, and each community id, have 16 to 32
// bytes: two moves that may overlap cost less than the call of memmove.
func (r *reader) copyText(src []byte) string {
	at, n := len(r.arena), len(src)
	r.arena = r.arena[:at+n]
	if dst := r.arena[at:]; n-16 <= 16 && n >= 16 && len(dst) == n {
		*(*[16]byte)(dst), *(*[16]byte)(dst[n-16:]) = *(*[16]byte)(src), *(*[16]byte)(src[n-16:])
	} else {
		copy(dst, src)
	}
	return unsafe.String(&r.arena[at], n)
}

// list is span for what is decoded into memory of its own: rows that share one list could turn a small frame into a huge
// result.
func (r *reader) list(ref uint64, size int) (start, length int) {
	start, n := r.span(ref, size)
	if r.listed += n * size; r.listed > len(r.heap) && r.err == nil {
		r.err = frameError("its lists are longer than its heap of %d bytes", len(r.heap))
	}
	return start, n
}

// bytes returns a part of the frame.
func (r *reader) bytes(ref uint64) []byte {
	start, n := r.span(ref, 1)
	if n == 0 || r.err != nil || !r.holds(n) {
		return nil
	}
	return r.heap[start : start+n : start+n]
}

// textMap returns a map, nil for an empty one. Unless maps are filled again it is one of its own: who gets a record may keep it.
func (r *reader) textMap(ref uint64, _ map[string]string) map[string]string {
	at, n := r.list(ref, textEntry)
	if n == 0 || r.err != nil {
		return nil
	}
	if r.inside && r.maps == nil {
		for end := at + n*textEntry; at < end; at += refSize {
			r.text(binary.LittleEndian.Uint64(r.heap[at:]))
		}
		return nil
	}
	m := r.maps.next(n)
	for ; n > 0; at, n = at+textEntry, n-1 {
		key := r.word(binary.LittleEndian.Uint64(r.heap[at:]))
		m[key] = r.word(binary.LittleEndian.Uint64(r.heap[at+8:]))
	}
	return m
}

// textList copies a list of texts into the memory of into.
func (r *reader) textList(ref uint64, into []string) []string {
	if ref>>32 == 0 {
		return into[:0]
	}
	at, n := r.list(ref, refSize)
	if r.err != nil {
		return into[:0]
	}
	if cap(into) < n {
		into = make([]string, n)
	}
	into = into[:n]
	for i := range into {
		into[i], at = r.word(binary.LittleEndian.Uint64(r.heap[at:])), at+refSize
	}
	return into
}

// u64s copies a list into the memory of into. Nearly all lie inside the heap and fit; see oddU64s for the others.
func (r *reader) u64s(ref uint64, into []uint64) []uint64 {
	start, n := uint64(uint32(ref)), ref>>32
	if n > uint64(cap(into)) || start+8*n > uint64(len(r.heap)) || r.listed+8*int(n) > len(r.heap) || r.err != nil {
		return r.oddU64s(ref, into)
	}
	r.listed += 8 * int(n)
	return r.copyU64s(int(start), into[:n])
}

// oddU64s is u64s for any list.
func (r *reader) oddU64s(ref uint64, into []uint64) []uint64 {
	start, n := r.list(ref, 8)
	if r.err != nil {
		return into[:0]
	}
	if cap(into) < n {
		into = make([]uint64, max(n, sdk.FlowPackets))
	}
	return r.copyU64s(start, into[:n])
}

func (r *reader) copyU64s(start int, into []uint64) []uint64 {
	src := r.heap[start : start+8*len(into)]
	for i := range into {
		into[i], src = binary.LittleEndian.Uint64(src), src[8:]
	}
	return into
}

// noTime stands for the zero time.Time.
const noTime = math.MinInt64

// maxSeconds is how far from 1970 a time may lie whose nanoseconds are surely a number of 64 bits.
const maxSeconds = math.MaxInt64/int64(time.Second) - 1

// nanos returns the nanoseconds since 1970; a time beyond the years 1678 to 2262 becomes the nearest one inside.
func nanos(t time.Time) int64 {
	if sec := t.Unix(); -maxSeconds < sec && sec < maxSeconds {
		return sec*int64(time.Second) + int64(t.Nanosecond())
	}
	return farNanos(t)
}

// farNanos is nanos for a time that may lie outside.
func farNanos(t time.Time) int64 {
	if t.IsZero() {
		return noTime
	}
	switch sec := t.Unix(); {
	case sec >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	case sec <= math.MinInt64/int64(time.Second):
		return noTime + 1
	}
	return t.UnixNano()
}

func timeOf(ns int64) time.Time {
	if ns >= 0 {
		sec := uint64(ns) / uint64(time.Second)
		return time.Unix(int64(sec), int64(uint64(ns)-sec*uint64(time.Second))).UTC()
	}
	return earlyTime(ns)
}

// earlyTime is timeOf for a time before 1970.
func earlyTime(ns int64) time.Time {
	if ns == noTime {
		return time.Time{}
	}
	sec := ns / int64(time.Second)
	if ns -= sec * int64(time.Second); ns < 0 {
		sec, ns = sec-1, ns+int64(time.Second)
	}
	return time.Unix(sec, ns).UTC()
}

// putAddr writes 16 bytes and returns the kind: 0 none, 4 or 6. A zone is dropped; flows have none. Nothing is read back
// in wider pieces than it was written in, as the copy of what As16 returns would: the processor waits for each of those.
func putAddr(row []byte, a netip.Addr) uint8 {
	_ = row[15]
	if a.Is4() {
		b := a.As4()
		binary.LittleEndian.PutUint64(row, 0)
		binary.LittleEndian.PutUint64(row[8:], 0xffff<<16|uint64(binary.LittleEndian.Uint32(b[:]))<<32)
		return 4
	}
	if !a.IsValid() {
		binary.LittleEndian.PutUint64(row, 0)
		binary.LittleEndian.PutUint64(row[8:], 0)
		return 0
	}
	_, _ = a.WithZone("").AppendBinary(row[:0:16]) // it never fails
	return 6
}

func getAddr(row []byte, kind uint8) netip.Addr {
	switch kind {
	case 4:
		return netip.AddrFrom4([4]byte(row[12:16]))
	case 6:
		return netip.AddrFrom16([16]byte(row))
	}
	return netip.Addr{}
}

// enumByte is the number of a text, 0 for one that the schema does not name.
func enumByte(texts []string, text string) uint8 {
	for i, t := range texts {
		if t == text {
			return uint8(i)
		}
	}
	return 0
}

func enumText(texts []string, number uint8) string {
	if int(number) < len(texts) {
		return texts[number]
	}
	return texts[0]
}

func boolByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
