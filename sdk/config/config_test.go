package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

type mail struct {
	Host string   `json:"host" default:"localhost" format:"host" doc:"The mail server."`
	Port uint16   `json:"port" default:"25" min:"1" doc:"Its port."`
	To   []string `json:"to" required:"true" doc:"Who gets the mail."`
	Pass string   `json:"password" secret:"true"`
}

type sample struct {
	Targets []string          `json:"targets" format:"hostport" max:"3" doc:"The hosts | to ask."`
	Every   Duration          `json:"every" default:"30s" min:"1s" max:"1h" doc:"Time between two questions."`
	Mode    string            `json:"mode" default:"fast" enum:"fast,deep"`
	Ratio   float64           `json:"ratio" default:"0.5" min:"0" max:"1"`
	Count   int8              `json:"count" max:"100"`
	Big     uint64            `json:"big"`
	Deep    bool              `json:"deep" default:"true"`
	Ports   []int             `json:"ports" default:"22,80"`
	Header  map[string]string `json:"header"`
	Net     string            `json:"net" format:"cidr"`
	URL     string            `json:"url" format:"url"`
	Token   string            `json:"token" secret:"true" enum:"a,b"`
	Mail    mail              `json:"mail"`
	Peers   []mail            `json:"peers"`
	Skipped int               `json:"-"`
}

func TestDecodeFillsDefaultsThenValues(t *testing.T) {
	var c sample
	err := Decode([]byte(`{"every": "1m30s", "count": -3, "big": 18446744073709551615, "ports": [], "header": {"A": "b"},
		"targets": ["a:1", "[2001:db8::1]:443"], "url": "", "mode": null, "mail": {"to": ["x@example.org"]}, "peers": [{"to": ["y"], "port": 26}]}`), &c)
	if err != nil {
		t.Fatal(err)
	}
	want := sample{
		Targets: []string{"a:1", "[2001:db8::1]:443"}, Every: Duration(90 * time.Second), Mode: "fast", Ratio: 0.5, Count: -3,
		Big: 1<<64 - 1, Deep: true, Ports: []int{}, Header: map[string]string{"A": "b"},
		Mail:  mail{Host: "localhost", Port: 25, To: []string{"x@example.org"}},
		Peers: []mail{{Host: "localhost", Port: 26, To: []string{"y"}}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestDecodeForgetsWhatWasThere(t *testing.T) {
	c := sample{Net: "left over", Ports: []int{1}}
	if err := Decode([]byte(`{"mail": {"to": ["x"]}}`), &c); err != nil {
		t.Fatal(err)
	}
	if c.Net != "" || len(c.Ports) != 2 {
		t.Errorf("got %+v", c)
	}
}

func TestDecodeListsEveryProblem(t *testing.T) {
	var c sample
	err := Decode([]byte(`{"targets": ["nohost", "a:1", "a:2", "a:3"], "every": "1ms", "mode": "slow", "ratio": 1.5, "count": 300, "big": -1,
		"deep": "yes", "ports": [1, 2.5], "header": {"A": 1}, "net": "10.0.0.1", "url": "x", "Mode": "fast", "token": "hush",
		"mail": {"host": "a b", "port": 0, "extra": 1}}`), &c)
	if sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Fatalf("class of %v", err)
	}
	for _, want := range []string{
		"targets: the number of elements must be at most 3",
		"every: it must be at least 1s",
		`mode: "slow" must be one of fast, deep`,
		"ratio: it must be at most 1",
		"count: must be a whole number from -128 to 127",
		"big: must be a whole number from 0",
		"deep: must be true or false",
		"ports[1]: must be a whole number",
		`header."A": must be a string`,
		`net: "10.0.0.1" is not a network`,
		`url: "x" is not a URL`,
		`"Mode": unknown key`,
		`mail.host: "a b" is not a host name`,
		"mail.port: it must be at least 1",
		"mail.to: is required",
		`mail."extra": unknown key`,
		"token: the value must be one of",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hush") {
		t.Error("the error repeats a secret")
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"a list":            `[]`,
		"broken":            `{"mode": `,
		"trailing":          `{} {}`,
		"a repeated key":    `{"mode": "fast", "mode": "deep"}`,
		"repeated below":    `{"mail": {"port": 1, "port": 2}}`,
		"too deep":          `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		"an infinite float": `{"ratio": 1e999}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := Decode([]byte(data), &sample{}); sdk.ClassOf(err) != sdk.InvalidConfig {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDecodeWithoutConfig(t *testing.T) {
	for _, data := range []string{"", "null", "{}", " \n"} {
		if err := Decode([]byte(data), nil); err != nil {
			t.Errorf("%q: %v", data, err)
		}
	}
	if err := Decode([]byte(`{"a": 1}`), nil); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("an unknown key: %v", err)
	}
}

func TestAuthorsMistakes(t *testing.T) {
	for name, ptr := range map[string]any{
		"not a pointer": sample{},
		"no json tag":   &struct{ A string }{},
		"bad format": &struct {
			A string `json:"a" format:"zip"`
		}{},
		"bad default": &struct {
			A int `json:"a" default:"x"`
		}{},
		"default out of enum": &struct {
			A string `json:"a" default:"c" enum:"a,b"`
		}{},
		"default below min": &struct {
			A Duration `json:"a" default:"1s" min:"2s"`
		}{},
		"secret default": &struct {
			A string `json:"a" default:"x" secret:"true"`
		}{},
		"unsupported type": &struct {
			A chan int `json:"a"`
		}{},
		"a dot in the name": &struct {
			A string `json:"a.b"`
		}{},
		"bound of a bool": &struct {
			A bool `json:"a" min:"1"`
		}{},
	} {
		t.Run(name, func(t *testing.T) {
			err := Decode(nil, ptr)
			if err == nil || sdk.ClassOf(err) == sdk.InvalidConfig {
				t.Errorf("got %v, want an error that does not blame the operator", err)
			}
			if _, err := Schema(ptr); err == nil {
				t.Error("Schema accepted it")
			}
		})
	}
}

func TestSchema(t *testing.T) {
	raw, err := Schema(&sample{})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	props := got["properties"].(map[string]any)
	for path, want := range map[string]any{
		"targets.type": "array", "targets.items.x-format": "hostport", "targets.maxItems": 3.0,
		"every.type": "string", "every.x-min": "1s", "every.default": "30s", "every.x-order": 1.0,
		"mode.enum": []any{"fast", "deep"}, "ratio.maximum": 1.0, "ratio.default": 0.5,
		"count.type": "integer", "deep.default": true, "ports.default": []any{22.0, 80.0},
		"token.writeOnly": true, "token.x-secret": true, "url.format": "uri",
		"header.additionalProperties.type": "string",
		"mail.required":                    []any{"to"}, "mail.additionalProperties": false, "mail.properties.port.minimum": 1.0,
		"peers.items.properties.host.default": "localhost",
	} {
		if v := dig(props, path); !reflect.DeepEqual(v, want) {
			t.Errorf("%s = %#v, want %#v", path, v, want)
		}
	}
	if got["additionalProperties"] != false {
		t.Error("unknown keys are allowed")
	}
	if strings.Index(string(raw), `"targets"`) > strings.Index(string(raw), `"every"`) {
		t.Error("the fields are not in the order of the struct")
	}
}

func dig(v any, path string) any {
	for _, key := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func TestWithDefaultsAgreesWithDecode(t *testing.T) {
	schema, err := Schema(&sample{})
	if err != nil {
		t.Fatal(err)
	}
	in := []byte(`{"mail": {"to": ["x"]}, "peers": [{"to": ["y"]}], "every": null, "big": 18446744073709551615}`)
	filled, err := WithDefaults(schema, in)
	if err != nil {
		t.Fatal(err)
	}
	var a, b sample
	if err := Decode(in, &a); err != nil {
		t.Fatal(err)
	}
	if err := Decode(filled, &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("decoded directly %+v\nwith defaults    %+v", a, b)
	}
	var tree map[string]any
	if err := json.Unmarshal(filled, &tree); err != nil {
		t.Fatal(err)
	}
	if tree["every"] != "30s" || dig(tree, "mail.port") != 25.0 {
		t.Errorf("defaults are missing in %s", filled)
	}
	if out, err := WithDefaults(nil, []byte(`{"a": 1}`)); err != nil || string(out) != `{"a":1}` {
		t.Errorf("without a schema: %s, %v", out, err)
	}
}

func TestSecrets(t *testing.T) {
	names, err := Secrets(&sample{})
	if err != nil || !reflect.DeepEqual(names, []string{"token", "mail.password"}) {
		t.Fatalf("got %v, %v", names, err)
	}
	data, err := WithSecrets([]byte(`{"mail": {"to": ["x"]}}`), map[string]string{"token": "a", "mail.password": "p"})
	if err != nil {
		t.Fatal(err)
	}
	var c sample
	if err := Decode(data, &c); err != nil {
		t.Fatal(err)
	}
	if c.Token != "a" || c.Mail.Pass != "p" || c.Mail.To[0] != "x" {
		t.Errorf("got %+v", c)
	}
	if _, err := WithSecrets([]byte(`{"mail": 5}`), map[string]string{"mail.password": "p"}); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("got %v", err)
	}
}

func TestTable(t *testing.T) {
	got := Table(&sample{})
	for _, want := range []string{
		"| `targets` | list of text, hostport, at most 3 |  | The hosts \\| to ask. |\n",
		"| `every` | duration, 1s to 1h | `30s` | Time between two questions. |\n",
		"| `mail.to` | list of text | required | Who gets the mail. |\n",
		"| `token` | text, secret: a or b |  |  |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
	if got := Table(nil); got != "There is nothing to configure.\n" {
		t.Errorf("got %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"every": "1m", "targets": ["a:1"], "mail": {"to": ["x"]}, "peers": [{}]}`))
	f.Add([]byte(`{"mail": {"port": 1, "port": 2}}`))
	schema, err := Schema(&sample{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var c sample
		err := Decode(data, &c)
		if err != nil {
			if sdk.ClassOf(err) != sdk.InvalidConfig {
				t.Fatalf("class %s for %q", sdk.ClassOf(err), data)
			}
			return
		}
		// What was accepted stays accepted with its defaults written out.
		filled, err := WithDefaults(schema, data)
		if err != nil {
			t.Fatal(err)
		}
		var again sample
		if err := Decode(filled, &again); err != nil {
			t.Fatalf("%q was accepted, %q is not: %v", data, filled, err)
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("%+v became %+v", c, again)
		}
	})
}
