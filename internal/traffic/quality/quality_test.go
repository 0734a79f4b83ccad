package quality

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/plugins/detectors/beacon"
	"github.com/picketwatch/picket/plugins/detectors/portscan"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

type host struct{}

func (host) Log() *slog.Logger                                      { return slog.Default() }
func (host) Now() time.Time                                         { return time.Time{} }
func (host) Secret(string) (string, error)                          { return "", nil }
func (host) State() sdk.State                                       { return nil }
func (host) Dial(context.Context, string, string) (net.Conn, error) { return nil, nil }
func (host) HTTP() *http.Client                                     { return nil }
func (host) ListenICMP(string) (net.PacketConn, error)              { return nil, nil }

type sink struct{ f []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error { s.f = append(s.f, f); return nil }

func TestX(t *testing.T) {
	files, _ := filepath.Glob("../../../../shared/pcaps/*")
	for _, f := range files {
		if filepath.Base(f) == "INDEX.tsv" {
			continue
		}
		var s sink
		var ds []sdk.Detector
		for _, p := range []sdk.Plugin{portscan.Plugin(), beacon.Plugin()} {
			d := p.New().(sdk.Detector)
			if err := config.Decode([]byte("{}"), d.Config()); err != nil {
				t.Fatal(err)
			}
			d.(sdk.Starter).Start(context.Background(), host{})
			ds = append(ds, d)
		}
		traffic.AnalyzeFile(context.Background(), f, traffic.Options{}, nil, func(fl []sdk.Flow) error {
			for _, d := range ds {
				d.Inspect(context.Background(), sdk.Batch{Flows: fl}, &s)
			}
			return nil
		})
		for _, d := range ds {
			d.Flush(context.Background(), &s)
		}
		fmt.Fprintf(os.Stdout, "%s\n", filepath.Base(f))
		for _, x := range s.f {
			fmt.Fprintf(os.Stdout, "    %s %s %s %v risk=%d conf=%v %v\n", x.Detector, x.Rule, x.Severity, x.Techniques, x.Risk, x.Confidence, x.Summary)
		}
	}
}
