package sigma

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// BenchmarkLoad reads the shared rules.
func BenchmarkLoad(b *testing.B) {
	files := sharedFiles(b)
	for b.Loop() {
		l := newLoader(allStatuses())
		for name, text := range files {
			if err := l.add(name, text); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkFacts runs the shared rules over facts as they are met, which match none.
func BenchmarkFacts(b *testing.B) {
	var all []byte
	files := sharedFiles(b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = append(append(all, files[name]...), "\n---\n"...)
	}
	l := newLoader(allStatuses())
	if err := l.add("all.yml", all); err != nil {
		b.Fatal(err)
	}
	d := &Detector{loaded: l.out}
	d.cfg.MaxFindings = 64
	d.begin()
	seen := asking(1, "").Seen
	web := sdk.HTTP{Seen: seen, Version: "1.1", Method: "GET", Host: "www.example.com", Target: "/assets/js/app.min.js?v=20260302", Status: 200, ContentType: "text/html",
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/134.0.0.0 Safari/537.36", Referer: "https://www.example.com/index.html"}
	dns := asking(1, "static.cdn.example.com")
	hello := sdk.TLS{Seen: seen, ServerName: "static.cdn.example.com", Version: 0x303}
	flow := sdk.Flow{Src: seen.Client, Dst: seen.Server, SrcPort: 5000, DstPort: 443, Proto: sdk.ProtoTCP}
	for name, batch := range map[string]sdk.Batch{"dns": {DNS: []sdk.DNS{dns}}, "http": {HTTP: []sdk.HTTP{web}}, "tls": {TLS: []sdk.TLS{hello}}, "flow": {Flows: []sdk.Flow{flow}}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			s := &sink{}
			for b.Loop() {
				if err := d.Inspect(context.Background(), batch, s); err != nil {
					b.Fatal(err)
				}
			}
			if len(s.findings) > 0 {
				b.Error(s.findings[0].Summary)
			}
		})
	}
}
