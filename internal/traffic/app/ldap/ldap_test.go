package ldap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

func tlv(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	return string([]byte{tag, 0x84, 0, 0, byte(len(body) >> 8), byte(len(body))}) + body // as Windows writes lengths
}

func message(id string, op string) string { return tlv(0x30, tlv(2, id), op) }

func result(tag byte, code, text string) string { return tlv(tag, tlv(10, code), tlv(4), tlv(4, text)) }

func bindTo(name string, auth string) string { return tlv(0x60, tlv(2, "\x03"), tlv(4, name), auth) }

func searchFor(filter string, attributes ...string) string {
	list := ""
	for _, a := range attributes {
		list += tlv(4, a)
	}
	return tlv(0x63, tlv(4, "dc=x"), tlv(10, "\x02"), tlv(10, "\x00"), tlv(2, "\x00"), tlv(2, "\x00"), tlv(1, "\x00"), filter, tlv(0x30, list))
}

var present = tlv(0x87, "mail")

var talk = []apptest.Said{
	apptest.Client(message("\x01", bindTo("cn=bob", tlv(0x80, "sesame")))), apptest.Server(message("\x01", result(0x61, "\x31", "data 52e\x00"))),
	apptest.Client(message("\x02", bindTo("", tlv(0x80)))), apptest.Server(message("\x02", result(0x61, "\x00", ""))),
	apptest.Client(message("\x03", bindTo("bob", tlv(0xa3, tlv(4, "GSS-SPNEGO"), tlv(4, "token"))))), apptest.Server(message("\x03", result(0x61, "\x0e", ""))),
	apptest.Client(message("\x04", bindTo("", tlv(0xa3, tlv(4, "GSS-SPNEGO"), tlv(4, "token"))))), apptest.Server(message("\x04", result(0x61, "\x00", ""))),
	apptest.Client(message("\x05", bindTo("", tlv(0xa3, tlv(4, "PLAIN"), tlv(4, "\x00eve\x00sesame"))))), apptest.Server(message("\x05", result(0x61, "\x00", ""))),
	apptest.Client(message("\x06", searchFor(present, "mail", "cn")) + message("\x07", tlv(0x4a, "cn=old"))),
	apptest.Server(message("\x06", tlv(0x64, tlv(4, "cn=1"), tlv(0x30))) + message("\x06", tlv(0x64, tlv(4, "cn=2"), tlv(0x30)))),
	apptest.Server(message("\x07", result(0x6b, "\x32", "no")) + message("\x06", result(0x65, "\x00", ""))),
	apptest.Client(message("\x08", tlv(0x77, tlv(0x80, StartTLS)))), apptest.Server(message("\x08", result(0x78, "\x00", ""))),
}

func show(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Request:
		return fmt.Sprintf("request %+v", *m)
	case *Response:
		return fmt.Sprintf("response %+v", *m)
	case *login.Attempt:
		return fmt.Sprintf("login %+v", *m)
	}
	return ""
}

func TestConversation(t *testing.T) {
	want := []string{
		"request {ID:1 Op:0 Name:cn=bob Scope:0 Filter: Attributes:[]}", "response {ID:1 Op:1 Code:49 Text:data 52e Entries:0}",
		"login {User:cn=bob Method:SIMPLE Clear:true Result:1 Code:49}",
		"request {ID:2 Op:0 Name: Scope:0 Filter: Attributes:[]}", "response {ID:2 Op:1 Code:0 Text: Entries:0}",
		"login {User: Method:ANONYMOUS Clear:false Result:2 Code:0}",
		"request {ID:3 Op:0 Name:bob Scope:0 Filter: Attributes:[]}", "response {ID:3 Op:1 Code:14 Text: Entries:0}",
		"request {ID:4 Op:0 Name: Scope:0 Filter: Attributes:[]}", "response {ID:4 Op:1 Code:0 Text: Entries:0}",
		"login {User:bob Method:GSS-SPNEGO Clear:false Result:2 Code:0}",
		"request {ID:5 Op:0 Name: Scope:0 Filter: Attributes:[]}", "response {ID:5 Op:1 Code:0 Text: Entries:0}",
		"login {User:eve Method:PLAIN Clear:true Result:2 Code:0}",
		"request {ID:6 Op:3 Name:dc=x Scope:2 Filter:(mail=*) Attributes:[mail cn]}", "request {ID:7 Op:10 Name:cn=old Scope:0 Filter: Attributes:[]}",
		"response {ID:7 Op:11 Code:50 Text:no Entries:0}", "response {ID:6 Op:5 Code:0 Text: Entries:2}",
		"request {ID:8 Op:23 Name:" + StartTLS + " Scope:0 Filter: Attributes:[]}", "response {ID:8 Op:24 Code:0 Text: Entries:0}",
	}
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(LDAP, size, func(f *app.Fact) { have = append(have, show(f)) }, talk...)
		if !slices.Equal(have, want) || next != app.Again {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
}

func TestFilter(t *testing.T) {
	pair := func(tag byte) string { return tlv(tag, tlv(4, "a"), tlv(4, "b*\x01")) }
	deep := present
	for range 1000 {
		deep = tlv(filterNot, deep)
	}
	for filter, want := range map[string]string{
		present: "(mail=*)", pair(filterEqual): `(a=b\2a\01)`, pair(filterGreater): `(a>=b\2a\01)`, pair(filterLess): `(a<=b\2a\01)`, pair(filterApprox): `(a~=b\2a\01)`,
		tlv(filterAnd, present, tlv(filterOr, present, tlv(filterNot, present))): "(&(mail=*)(|(mail=*)(!(mail=*))))",
		tlv(filterParts, tlv(4, "a"), tlv(0x30, tlv(0x80, "x"), tlv(0x81, "y"))): "(a=x*y*)", tlv(filterParts, tlv(4, "a"), tlv(0x30, tlv(0x82, "z"))): "(a=*z)",
		tlv(filterRule, tlv(0x81, "1.2"), tlv(0x82, "a"), tlv(0x83, "2"), tlv(0x84, "\xff")): "(a:dn:1.2:=2)",
		tlv(0xbe, "x"): "(...)", tlv(filterEqual, "x"): "(...)", tlv(filterAnd, "x"): "(&...)",
		deep: strings.Repeat("(!", maxDepth) + "(...)" + strings.Repeat(")", maxDepth),
	} {
		var have string
		apptest.Stream(LDAP, 1<<20, func(f *app.Fact) { have = f.Body.(*Request).Filter }, apptest.Client(message("\x01", searchFor(filter))))
		if have != want {
			t.Errorf("have %s, want %s", have, want)
		}
	}
	var have string
	wide := tlv(filterOr, strings.Repeat(present, 1000))
	apptest.Stream(LDAP, 1<<20, func(f *app.Fact) { have = f.Body.(*Request).Filter }, apptest.Client(message("\x01", searchFor(wide))))
	if len(have) != maxFilter {
		t.Errorf("%d bytes of a filter", len(have))
	}
}

func TestHostile(t *testing.T) {
	for i := range talk {
		whole := talk[i].Text
		for n := range whole {
			apptest.Stream(LDAP, 7, func(f *app.Fact) {
				if text := show(f); strings.Contains(text, "sesame") {
					t.Errorf("a password: %s", text)
				}
			}, apptest.Said{Dir: talk[i].Dir, Text: whole[:n]})
			bad := []byte(whole)
			bad[n] ^= 0x81
			apptest.Stream(LDAP, 7, func(*app.Fact) {}, apptest.Said{Dir: talk[i].Dir, Text: string(bad)})
		}
	}
	// After a login what follows may be wrapped.
	if next := apptest.Stream(LDAP, 100, func(*app.Fact) {}, append(slices.Clone(talk[4:8]), apptest.Client("\x00\x00\x00\x04abcd"))...); next != app.Done {
		t.Errorf("wrapped: %d", next)
	}
	many := make([]string, maxAttributes+10)
	have := 0
	apptest.Stream(LDAP, 1<<20, func(f *app.Fact) { have = len(f.Body.(*Request).Attributes) }, apptest.Client(message("\x01", searchFor(present, many...))))
	if have != maxAttributes {
		t.Errorf("%d attributes", have)
	}
	// More searches than are counted forget the first ones.
	p := reader{}
	p.reset()
	for id := range int64(1000) {
		p.count(id)
	}
	if len(p.searches) != maxOpen {
		t.Errorf("%d searches", len(p.searches))
	}
}

func TestRecognise(t *testing.T) {
	for _, said := range talk {
		whole := said.Text
		for n := 1; n < len(whole); n++ {
			if have := recognise(said.Dir, []byte(whole[:n])); have == app.No || n < 18 && have == app.Sure {
				t.Fatalf("%q: %d", whole[:n], have)
			}
		}
		if have := recognise(said.Dir, []byte(whole)); have != app.Sure {
			t.Errorf("%q: %d", whole, have)
		}
	}
	for text, want := range map[string]app.Verdict{
		"\x30\x05\x02\x01\x01\x42\x00": app.Likely, "\x30\x05\x02\x01\x01\x42\x01": app.No, "\x30\x06\x02\x01\x01\x04\x01a": app.No, "0 hello": app.No,
		"\x30\x05\x02\x01\x01\x60\x7f": app.No, "\x30\x03\x02\x01\x01": app.No, "\x30\x80": app.No, "\x30\x04\x02\x05\x01\x01": app.No, "HTTP": app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d", text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{"benign-ldap__zeek__aduser1.pcap": 4, "neg-beacon__elcabezzonn__wmi-service-remote.pcap": 6, "neg-arp__elcabezzonn__schtasks.pcap": 2} {
		t.Run(file, func(t *testing.T) { compare(t, apptest.Shared(t, file), least) })
	}
}

func compare(t *testing.T, path string, least int) {
	t.Helper()
	var have, want, logins []string
	apptest.Run(t, path, []app.Protocol{LDAP}, func(f *app.Fact) {
		switch m := f.Body.(type) {
		case *Request:
			have = append(have, fmt.Sprintf("%d %d %s", m.ID, m.Op, m.Name))
			if m.Op == Search {
				t.Logf("%s %q", m.Filter, m.Attributes)
			}
		case *Response:
			have = append(have, fmt.Sprintf("%d %d %d", m.ID, m.Op, m.Code))
		case *login.Attempt:
			logins = append(logins, show(f))
		}
	})
	// What a SASL login wraps is not read. tshark takes some of it apart, as it is signed only.
	for _, row := range apptest.Tshark(t, path, "(ldap || cldap) && !ldap.sasl_buffer_length", "ldap.messageID", "ldap.protocolOp", "ldap.name", "ldap.baseObject", "ldap.resultCode") {
		for i, op := range row[1] {
			switch op {
			case "4", "19":
			case "0":
				want = append(want, row[0][i]+" 0 "+strings.Join(row[2], ""))
			case "3":
				want = append(want, row[0][i]+" 3 "+strings.Join(row[3], ""))
			default:
				want = append(want, row[0][i]+" "+op+" "+strings.Join(row[4], ""))
			}
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) || len(want) < least {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	t.Logf("%d messages compared\n%s", len(want), strings.Join(logins, "\n"))
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, LDAP, talk) }

func FuzzDatagram(f *testing.F) {
	apptest.FuzzDatagram(f, LDAP, []byte(message("\x06", searchFor(present, "mail"))), []byte(message("\x06", result(0x65, "\x00", ""))))
}
