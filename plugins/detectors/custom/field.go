package custom

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// What a rule is shown of one field: the cost of a rule is estimated with these bounds, so nothing larger may come.
const (
	maxText  = 4096 // bytes of a text
	maxItems = 256  // elements of a list or a map
)

// field is one field of the records of type T. Exactly one of the functions is set; it says of what shape the field is.
type field[T any] struct {
	name, goName string

	number   func(*T) int64
	fraction func(*T) float64
	flag     func(*T) bool
	text     func(*T) string
	address  func(*T) netip.Addr
	moment   func(*T) time.Time
	octets   func(*T) []byte
	texts    func(*T) []string
	numbers  func(*T) []uint64
	pairs    func(*T) map[string]string
}

// kindOf is a kind of records: its name in a rule, its fields, and where one of them was seen.
type kindOf[T any] struct {
	name   string
	fields []field[T]
	place  func(*T) place
}

func (k *kindOf[T]) find(name string) *field[T] {
	for i := range k.fields {
		if k.fields[i].name == name {
			return &k.fields[i]
		}
	}
	return nil
}

func (k *kindOf[T]) names() []string {
	out := make([]string, len(k.fields))
	for i := range k.fields {
		out[i] = k.fields[i].name
	}
	return out
}

// place is where a record was seen.
type place struct {
	at       time.Time
	packet   uint64
	src, dst netip.Addr
	proto    uint8
	flow     flowref.Ref
}

func placeOf(s *sdk.Seen) place {
	p := place{at: s.Time, packet: s.Packet, src: s.Client, dst: s.Server, proto: s.Proto}
	if s.Flow != 0 && s.Client.IsValid() && s.Server.IsValid() {
		p.flow = flowref.Ref{ID: s.Flow, SrcPort: s.ClientPort, DstPort: s.ServerPort}
	}
	return p
}

func flowPlace(f *sdk.Flow) place {
	p := place{at: f.Start, src: f.Src, dst: f.Dst, proto: f.Proto, flow: flowref.Of(f)}
	if len(f.Packets) > 0 {
		p.packet = f.Packets[0]
	}
	return p
}

// arpPlace has the addresses in the message, which has none below it.
func arpPlace(f *sdk.ARP) place {
	p := placeOf(&f.Seen)
	p.src, p.dst, p.flow = f.SenderIP, f.TargetIP, flowref.Ref{}
	return p
}

// celType is the type of the field in a rule.
func (f *field[T]) celType() *cel.Type {
	switch {
	case f.number != nil:
		return cel.IntType
	case f.fraction != nil:
		return cel.DoubleType
	case f.flag != nil:
		return cel.BoolType
	case f.moment != nil:
		return cel.TimestampType
	case f.octets != nil:
		return cel.BytesType
	case f.texts != nil:
		return cel.ListType(cel.StringType)
	case f.numbers != nil:
		return cel.ListType(cel.IntType)
	case f.pairs != nil:
		return cel.MapType(cel.StringType, cel.StringType)
	}
	return cel.StringType // also an address
}

// value is what a rule is shown.
func (f *field[T]) value(r *T) ref.Val {
	switch {
	case f.text != nil:
		return types.String(cut(f.text(r)))
	case f.number != nil:
		return types.Int(f.number(r))
	case f.address != nil:
		return types.String(addressText(f.address(r)))
	case f.flag != nil:
		return types.Bool(f.flag(r))
	case f.fraction != nil:
		return types.Double(f.fraction(r))
	case f.moment != nil:
		return types.Timestamp{Time: f.moment(r).UTC()}
	case f.octets != nil:
		b := f.octets(r)
		return types.Bytes(b[:min(len(b), maxText)])
	case f.texts != nil:
		return textList(f.texts(r))
	case f.numbers != nil:
		list := f.numbers(r)
		out := make([]int64, 0, min(len(list), maxItems))
		for _, n := range list[:min(len(list), maxItems)] {
			out = append(out, clamp(n))
		}
		return types.NewList(types.DefaultTypeAdapter, out)
	}
	return types.NewStringStringMap(types.DefaultTypeAdapter, cutPairs(f.pairs(r)))
}

func textList(list []string) ref.Val {
	list = list[:min(len(list), maxItems)]
	if slices.ContainsFunc(list, func(s string) bool { return len(s) > maxText }) {
		list = slices.Clone(list)
		for i := range list {
			list[i] = cut(list[i])
		}
	}
	return types.NewStringList(types.DefaultTypeAdapter, list)
}

// cutPairs leaves out what is too much, in the order of the keys so that it is always the same.
func cutPairs(pairs map[string]string) map[string]string {
	long := len(pairs) > maxItems
	for k, v := range pairs {
		long = long || len(k) > maxText || len(v) > maxText
	}
	if !long {
		return pairs
	}
	out := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		if len(out) == maxItems {
			break
		}
		out[cut(k)] = cut(pairs[k])
	}
	return out
}

// said is the field as people read it, in titles and in the keys of counts.
func (f *field[T]) said(r *T) string {
	switch {
	case f.text != nil:
		return cut(f.text(r))
	case f.number != nil:
		return strconv.FormatInt(f.number(r), 10)
	case f.address != nil:
		return addressText(f.address(r))
	case f.flag != nil:
		return strconv.FormatBool(f.flag(r))
	case f.fraction != nil:
		return strconv.FormatFloat(f.fraction(r), 'g', 6, 64)
	case f.moment != nil:
		return f.moment(r).UTC().Format(time.RFC3339)
	}
	return ""
}

// plain reports whether the field is one value, which can be said.
func (f *field[T]) plain() bool {
	return f.octets == nil && f.texts == nil && f.numbers == nil && f.pairs == nil
}

func cut(s string) string { return s[:min(len(s), maxText)] }

// clamp is a number as rules have them.
func clamp(n uint64) int64 { return int64(min(n, 1<<63-1)) }

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().String()
}

// clean takes out of a text what would spoil a line that people read.
func clean(s string, most int) string {
	s = strings.ToValidUTF8(s[:min(len(s), most)], "�")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u202e' {
			return '�'
		}
		return r
	}, s)
}
