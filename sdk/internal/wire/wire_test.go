package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// filler sets every field to a value that nothing else has, so that a forgotten or swapped one shows.
type filler struct{ n int }

func (f *filler) fill(t *testing.T, v reflect.Value) {
	t.Helper()
	f.n++
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.Unix(1_700_000_000, int64(f.n)).UTC()
		return
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{10, 0, byte(f.n >> 8), byte(f.n)})
		return
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(f.n), 0, 0}), 16)
		return
	case *json.RawMessage:
		*p = json.RawMessage(fmt.Sprint(f.n))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.n))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n))
	case reflect.Float64:
		v.SetFloat(float64(f.n) + 0.5)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(t, v.Index(0))
		f.fill(t, v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(t, key)
			f.fill(t, value)
			v.SetMapIndex(key, value)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(t, v.Field(i))
		}
	default:
		t.Fatalf("cannot fill %s", v.Type())
	}
}

// roundTrip fills a value, sends it through the bytes of its message, and compares.
func roundTrip[T any, M proto.Message](t *testing.T, to func(T) M, from func(M) T) {
	t.Helper()
	var in T
	t.Run(fmt.Sprintf("%T", in), func(t *testing.T) {
		(&filler{}).fill(t, reflect.ValueOf(&in).Elem())
		data, err := proto.Marshal(to(in))
		if err != nil {
			t.Fatal(err)
		}
		msg := to(*new(T))
		proto.Reset(msg)
		if err := proto.Unmarshal(data, msg); err != nil {
			t.Fatal(err)
		}
		if got := from(msg); !reflect.DeepEqual(got, in) {
			t.Errorf("sent %+v\ngot  %+v", in, got)
		}
		var zero T
		if got := from(to(zero)); !reflect.DeepEqual(got, zero) {
			t.Errorf("the zero value became %+v", got)
		}
	})
}

func TestNothingIsForgotten(t *testing.T) {
	roundTrip(t, RuleToPB, RuleFromPB)
	roundTrip(t, SubscriptionToPB, SubscriptionFromPB)
	roundTrip(t, DescriptionToPB, DescriptionFromPB)
	roundTrip(t, PermissionToPB, PermissionFromPB)
	roundTrip(t, InstanceConfigToPB, InstanceConfigFromPB)
	roundTrip(t, SampleToPB, SampleFromPB)
	roundTrip(t, StatusToPB, StatusFromPB)
	roundTrip(t, FindingToPB, FindingFromPB)
	roundTrip(t, FlowRefToPB, FlowRefFromPB)
	roundTrip(t, NoticeToPB, NoticeFromPB)
	roundTrip(t, ReceiptToPB, ReceiptFromPB)
	roundTrip(t, func(r sdk.CollectRequest) *pb.CollectRequest { return CollectRequestToPB("i", r) }, CollectRequestFromPB)
	roundTrip(t, SightingToPB, func(m *pb.Sighting) sdk.Sighting {
		v, err := SightingFromPB(m)
		if err != nil {
			t.Error(err)
		}
		return v
	})
	roundTrip(t, func(s sdk.Scope) *pb.DiscoverRequest { return ScopeToPB("i", s) }, func(m *pb.DiscoverRequest) sdk.Scope {
		v, err := ScopeFromPB(m)
		if err != nil {
			t.Error(err)
		}
		return v
	})
}

func TestAnEmptyArgumentIsKept(t *testing.T) {
	in := sdk.Permission{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {}}}
	if got := PermissionFromPB(PermissionToPB(in)); got.AllowsDial("tcp", "a", 1) {
		t.Errorf("a grant that allows nothing became %s", got)
	}
}

func TestTimesBeyondTheRange(t *testing.T) {
	for _, in := range []time.Time{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC)} {
		got := Time(Nanos(in))
		if got.IsZero() || got.After(in) != in.Before(time.Unix(0, 0)) {
			t.Errorf("%s became %s", in, got)
		}
	}
	if got := Time(Nanos(time.Unix(0, 0))); !got.Equal(time.Unix(0, 0)) || got.IsZero() {
		t.Errorf("1970 became %s", got)
	}
}

func TestTextThatIsNotUTF8(t *testing.T) {
	bad := "a\xffb"
	for _, m := range []proto.Message{
		FindingToPB(sdk.Finding{Summary: bad, Src: bad, Flows: []sdk.FlowRef{{Src: bad}}}), NoticeToPB(sdk.Notice{Title: bad}),
		SampleToPB(sdk.Sample{Unit: bad}), SightingToPB(sdk.Sighting{Hostname: bad}), ReceiptToPB(sdk.Receipt{URL: bad}),
		ErrorToPB(errors.New(bad)),
	} {
		if _, err := proto.Marshal(m); err != nil {
			t.Errorf("%T: %v", m, err)
		}
	}
}

func TestErrors(t *testing.T) {
	classified := &sdk.Error{Class: sdk.Downstream, Message: "no", RetryAfter: time.Second}
	cases := []struct {
		name  string
		in    error
		class sdk.Class
		retry time.Duration
	}{
		{"classified", FromError(fmt.Errorf("wrapped: %w", classified)), sdk.Downstream, time.Second},
		{"unclassified", FromError(errors.New("x")), sdk.Internal, 0},
		{"the deadline of a call", FromError(context.DeadlineExceeded), sdk.Temporary, 0},
		{"process gone", status.Error(codes.Unavailable, "EOF"), sdk.Temporary, 0},
		{"message too large", status.Error(codes.ResourceExhausted, "too large"), sdk.Internal, 0},
		{"unknown method", status.Error(codes.Unimplemented, "x"), sdk.Unsupported, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var e *sdk.Error
			if err := ToError(c.in); !errors.As(err, &e) || e.Class != c.class || e.RetryAfter != c.retry {
				t.Errorf("got %#v", err)
			}
		})
	}
	if FromError(nil) != nil || ToError(nil) != nil {
		t.Error("no error became one")
	}
	if !Ended(FromError(fmt.Errorf("x: %w", context.DeadlineExceeded))) || Ended(FromError(classified)) {
		t.Error("Ended is wrong")
	}
	if err := FromError(errors.New(strings.Repeat("x", 1<<20))); len(ToError(err).Error()) > 8<<10 {
		t.Error("the text of an error is not bounded")
	}
}

func TestRiskDoesNotWrap(t *testing.T) {
	if r := FindingFromPB(&pb.Finding{Risk: 1<<32 + 50}).Risk; r <= 100 {
		t.Errorf("got %d", r)
	}
}
