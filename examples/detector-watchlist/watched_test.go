package watched

import (
	"bufio"
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

var models = map[string]string{watchlist: "watchlist/watchlist.txt"}

func TestConformance(t *testing.T) {
	sdktest.Run(t, Plugin(), sdktest.Options{Models: models})
}

type findings []sdk.Finding

func (f *findings) Finding(one sdk.Finding) error {
	*f = append(*f, one)
	return nil
}

func TestFinds(t *testing.T) {
	host := sdktest.NewHost(t)
	host.Models = models
	d := &detector{}
	if err := d.Start(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	flow := func(dst string) sdk.Flow {
		return sdk.Flow{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr(dst), Start: time.Unix(1, 0), End: time.Unix(2, 0)}
	}
	var got findings
	if err := d.Inspect(context.Background(), sdk.Batch{Flows: []sdk.Flow{flow("203.0.113.9"), flow("9.9.9.9"), flow("2001:db8::1")}}, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Dst != "203.0.113.9" || got[1].Dst != "2001:db8::1" {
		t.Errorf("%+v", got)
	}
}

// Without its list it does not start: it would find nothing, and look as if there were nothing.
func TestNoList(t *testing.T) {
	if err := (&detector{}).Start(t.Context(), sdktest.NewHost(t)); err == nil {
		t.Error("it started")
	}
	if _, err := parse(bufio.NewScanner(strings.NewReader("10.0.0.0/8\nnonsense\n"))); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a broken list: %v", err)
	}
}

// The kit tests what is built with a copy of the list.
func TestCopyOfTheList(t *testing.T) {
	a, err := os.ReadFile("watchlist/watchlist.txt")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile("testdata/watchlist.txt"); err != nil || string(a) != string(b) {
		t.Errorf("testdata/watchlist.txt is another list: %v", err)
	}
}
