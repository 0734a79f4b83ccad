package querycmd

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run asks a server that gives one answer, and returns what is printed and what was asked.
func run(t *testing.T, status int, answer string, args ...string) (out, asked string, err error) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%v %s", err, r.Header)
		}
		asked = r.URL.Path + " " + string(body)
		w.WriteHeader(status)
		io.WriteString(w, answer) //nolint:errcheck // the client went away
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := New()
	var b bytes.Buffer
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, "--server", s.URL, "--token-file", file))
	err = cmd.ExecuteContext(t.Context())
	return b.String(), asked, err
}

func TestQuery(t *testing.T) {
	for name, x := range map[string]struct {
		answer string
		args   []string
		want   string
	}{
		"a vector": {`{"status":"success","data":{"resultType":"vector","result":[
			{"metric":{"__name__":"up","job":"node","instance":"a"},"value":[1,"1"]},{"metric":{"__name__":"up","job":"node","instance":"long"},"value":[1,"0.123456789"]}]}}`, []string{"up"},
			"all: up{job=\"node\"}\nSERIES             VALUE\n{instance=\"a\"}     1\n{instance=\"long\"}  0.123457\n"},
		"one series": {`{"data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"node"},"value":[1,"+Inf"]}]}}`, []string{"up"},
			"SERIES          VALUE\nup{job=\"node\"}  +Inf\n"},
		"a range": {`{"data":{"resultType":"matrix","result":[{"metric":{"group":"web"},"values":[[1,"0"],[2,"7"],[3,"NaN"],[4,"3.5"]]}]}}`, []string{"x", "--range", "1h"},
			"SERIES         MIN  MAX  LAST\n{group=\"web\"}  0    7    3.5   ▁█ ▅\n"},
		"nothing":     {`{"data":{"resultType":"vector","result":[]}}`, []string{"x"}, "No series fits, or none has a value at that time.\n"},
		"a scalar":    {`{"data":{"resultType":"scalar","result":[1.5,"1500000"]}}`, []string{"x"}, "1500000\n"},
		"a string":    {`{"data":{"resultType":"string","result":[1.5,"text"]}}`, []string{`"text"`}, "text\n"},
		"a note":      {`{"data":{"resultType":"scalar","result":[1,"1"]},"infos":["not a counter"]}`, []string{"x"}, "not a counter\n1\n"},
		"for scripts": {`{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`, []string{"x", "--json"}, "\"resultType\": \"scalar\""},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, http.StatusOK, x.answer, x.args...)
			if err != nil || !strings.HasSuffix(out, x.want) && !strings.Contains(out, x.want) {
				t.Errorf("%v\ngot\n%s\nwant\n%s", err, out, x.want)
			}
		})
	}
}

func TestQueryAsks(t *testing.T) {
	const nothing = `{"data":{"resultType":"matrix","result":[]}}`
	_, asked, err := run(t, http.StatusOK, nothing, "sum(up)", "--range", "1h")
	if err != nil || !strings.HasPrefix(asked, "/prometheus/api/v1/query_range ") || !strings.Contains(asked, "query=sum%28up%29") || !strings.Contains(asked, "step=60") {
		t.Errorf("%s %v", asked, err)
	}
	if _, asked, err = run(t, http.StatusOK, nothing, "up"); err != nil || !strings.HasPrefix(asked, "/prometheus/api/v1/query ") {
		t.Errorf("%s %v", asked, err)
	}
}

func TestQueryRefused(t *testing.T) {
	for answer, want := range map[string]string{
		`{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error"}`: "1:5: parse error",
		`{"detail":"the role PUB may not do this"}`:                                                         "PUB may not",
		`gone`: "400",
	} {
		if _, _, err := run(t, http.StatusBadRequest, answer, "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"a", "--step", "1m"}, {"a", "--range", "-1h"}} {
		if _, asked, err := run(t, http.StatusOK, `{}`, args...); err == nil || asked != "" {
			t.Errorf("%v: %v %s", args, err, asked)
		}
	}
}
