package kit

import (
	"context"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// stub is a notifier in "another" process, which is this one.
type stub struct {
	Session
	err error
}

func (s stub) Runtime() string                                     { return "process" }
func (s stub) Plugin() string                                      { return "acme/stub" }
func (s stub) Start(context.Context) (Session, error)              { return s, nil }
func (s stub) Describe(context.Context) ([]abi.Description, error) { return nil, nil }
func (s stub) Configure(context.Context, abi.InstanceConfig) error { return nil }
func (s stub) PID() int                                            { return os.Getpid() }
func (s stub) Close() error                                        { return nil }
func (s stub) Notify(context.Context, string, sdk.Notice) (sdk.Receipt, error) {
	return sdk.Receipt{}, s.err
}

// A plugin whose work fails holds memory all the same; what its work took is not measured, and said not to be.
func TestMeasure(t *testing.T) {
	for name, err := range map[string]error{"work": nil, "work that fails": sdk.Errorf(sdk.Downstream, "nobody there")} {
		b := &bench{subject: stub{err: err}, o: Options{}.withDefaults(), about: abi.Description{ID: "acme/stub", Kind: sdk.KindNotifier}}
		card, _ := b.measure(t.Context())
		if runtime.GOOS == "linux" && card.MemoryBytes < 1<<20 {
			t.Errorf("%s: %d bytes of memory", name, card.MemoryBytes)
		}
		if measured := card.NanosPerRecord > 0; measured != (err == nil) || strings.Contains(card.String(), "time per record not measured") == measured {
			t.Errorf("%s: %v", name, card)
		}
	}
	if words := (Card{Runtime: "wasm"}).String(); !strings.Contains(words, "memory not measured") {
		t.Error(words)
	}
}
