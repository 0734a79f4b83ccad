package flowtable

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
)

func written(t *testing.T, format string, cols []columns.Column, flows []sdk.Flow, times int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := New(format, &out, cols)
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		if err := w.Write("x", flows); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func flow() sdk.Flow {
	return sdk.Flow{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Features: &sdk.Features{}}
}

// A row group ends in the middle of a batch as well, and has fewer rows where there are many columns.
func TestParquetRowGroups(t *testing.T) {
	batch := make([]sdk.Flow, 1000)
	for i := range batch {
		batch[i] = flow()
	}
	for _, c := range []struct {
		cols   []columns.Column
		groups int
	}{{columns.Flow(), 2}, {columns.All(), 3}} {
		r, err := file.NewParquetReader(bytes.NewReader(written(t, "parquet", c.cols, batch, 70)))
		if err != nil || r.NumRows() != 70_000 || r.NumRowGroups() != c.groups {
			t.Errorf("%d columns: %d rows in %d groups, want %d; error %v", len(c.cols), r.NumRows(), r.NumRowGroups(), c.groups, err)
		}
	}
}

// What an agent sends under the name of an application is a text, whatever it looks like.
func TestTextsThatAreMeantToHarm(t *testing.T) {
	for _, text := range []string{`=HYPERLINK("http://x","y")`, "+1", "-2", "@SUM(1)", "\tx", "a\"b\nc,d", "\xff", `\"}`} {
		f := flow()
		f.App = text
		rows, err := csv.NewReader(bytes.NewReader(written(t, "csv", columns.All(), []sdk.Flow{f}, 1))).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatalf("%q: %d rows, error %v", text, len(rows), err)
		}
		for k, name := range rows[0] {
			if cell := rows[1][k]; name == "app" && (strings.TrimLeft(cell, "=+-@\t\r") != cell || !strings.HasSuffix(cell, text)) {
				t.Errorf("%q is the cell %q", text, cell)
			}
		}
		var line map[string]any
		if err := json.Unmarshal(written(t, "json", columns.All(), []sdk.Flow{f}, 1), &line); err != nil || line["app"] != strings.ToValidUTF8(text, "\ufffd") {
			t.Errorf("%q is the text %q, error %v", text, line["app"], err)
		}
		if _, err := file.NewParquetReader(bytes.NewReader(written(t, "parquet", columns.All(), []sdk.Flow{f}, 1))); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestANumberThatIsNotKnownIsNotThere(t *testing.T) {
	f := flow()
	f.Features.LenMin = math.NaN()
	rows, err := csv.NewReader(bytes.NewReader(written(t, "csv", columns.Features()[:1], []sdk.Flow{f}, 1))).ReadAll()
	if err != nil || rows[0][1] != "len_min" || rows[1][1] != "" {
		t.Errorf("%v, error %v", rows, err)
	}
	if line := string(written(t, "json", columns.Features()[:1], []sdk.Flow{f}, 1)); line != `{"capture":"x","len_min":null}`+"\n" {
		t.Errorf("%s", line)
	}
	if _, err := New("exe", nil, nil); err == nil {
		t.Error("a format that is none is written")
	}
}
