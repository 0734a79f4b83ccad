package gatecheck

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/cmd/picket/internal/labelled"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

const header = "file\tdataset\ttechnique\tseconds\tsource\n"

func TestJudge(t *testing.T) {
	dir := t.TempDir()
	text := header +
		"scan.pcap\tours\tT1046\t10\thttps://example.org\n" +
		"quiet-scan.pcap\tours\tT1046\t10\thttps://example.org\n" +
		"tunnel.pcap\tours\tT1572\t10\thttps://example.org\n" +
		"office.pcap\tours\t\t1800\thttps://example.org\n" +
		"backup.pcap\tours\t\t1800\thttps://example.org\n" +
		"only-attacks.pcap\ttheirs\tT1046\t10\thttps://example.org\n"
	if err := os.WriteFile(filepath.Join(dir, labelled.File), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	labels, err := labelled.Read(filepath.Join(dir, labelled.File))
	if err != nil {
		t.Fatal(err)
	}
	scan := sdk.Finding{Techniques: []string{"T1018", "T1046.001"}}
	finds := map[string][]sdk.Finding{"scan.pcap": {scan}, "quiet-scan.pcap": {{Techniques: []string{"T1018"}}}, "backup.pcap": {scan, scan}, "only-attacks.pcap": {scan}}
	shown := 0
	got, err := judge(t.Context(), labels, registry.Manifest{Techniques: []string{"T1046"}}, func(_ context.Context, l labelled.Label) ([]sdk.Finding, error) {
		shown++
		return finds[l.File], nil
	})
	want := []registry.QualityFigure{{Dataset: "ours", Precision: 0.5, Recall: 0.5, FalsePositivesPerHour: 2, Captures: 4, Source: "https://example.org"}}
	if diff := cmp.Diff(want, got.Figures); err != nil || diff != "" || shown != 5 {
		t.Errorf("%v, %d captures, %s", err, shown, diff)
	}
	if none, err := judge(t.Context(), labels, registry.Manifest{Techniques: []string{"T1001"}}, func(context.Context, labelled.Label) ([]sdk.Finding, error) { return nil, nil }); err != nil || len(none.Figures) > 0 {
		t.Errorf("figures about what it does not look for: %+v, %v", none, err)
	}
	broken := errors.New("it crashed")
	if _, err := judge(t.Context(), labels, registry.Manifest{Techniques: []string{"T1046"}}, func(context.Context, labelled.Label) ([]sdk.Finding, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("a detector that crashes is judged: %v", err)
	}
}

func TestReadLabelsRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := labelled.Read(filepath.Join(dir, labelled.File)); err == nil {
		t.Error("no labels are labels")
	}
	for name, line := range map[string]string{
		"a path": "../x.pcap\td\t\t1\ts\n", "no time": "x.pcap\td\t\tlong\ts\n", "too few": "x.pcap\td\n", "no data set": "x.pcap\t\t\t1\ts\n", "negative": "x.pcap\td\t\t-1\ts\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, labelled.File), []byte(header+line), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := labelled.Read(filepath.Join(dir, labelled.File)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
