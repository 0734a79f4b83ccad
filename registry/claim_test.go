package registry

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestNamesThatAreFree(t *testing.T) {
	taken := []string{"acme", "cisco-labs", "example-org"}
	for _, name := range []string{"zebra", "north-wind", "tool4u", "labs-of-cisco", "abc"} {
		if err := CheckNamespace(name, taken, []string{"ping", "portscan"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, why := range map[string]string{
		"acme": "taken", "acne": "acme", "acmee": "acme", "cme": "acme", "caem": "", "ciscolabs": "cisco-labs", "clsco-labs": "cisco-labs",
		"portscan": "plugin", "p0rtscan": "plugin", "portscans": "plugin", "picket-watch": "project", "the-picket": "project", "plcket": "project",
		"Acme2": "capitals", "аcme": "look like", "acme.": "dot", ".acme": "dot", "xn--acme": "punycode", "a b c": "not allowed", "4chan": "letter comes first",
		"": "length", strings.Repeat("a", 40): "length", "security": "reserved", "nul": "reserved", "a/b": "not allowed",
	} {
		err := CheckNamespace(name, taken, []string{"ping", "portscan"})
		if why == "" {
			if err != nil {
				t.Errorf("%q: %v", name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want something about %q", name, err, why)
		}
	}
}

func TestSlip(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"acme", "acme", false}, {"acme", "acmes", true}, {"acme", "cme", true}, {"acme", "acne", true}, {"acme", "amce", true}, {"acme", "emca", false},
		{"ab", "ba", true}, {"a", "", true}, {"abc", "abcde", false}, {"abcd", "badc", false},
	} {
		if got := slip(c.a, c.b); got != c.want || slip(c.b, c.a) != c.want {
			t.Errorf("%s, %s: %v", c.a, c.b, got)
		}
	}
}

func goodClaim(tb testing.TB) (*Claim, ed25519.PrivateKey) {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	c := &Claim{Metadata: json.RawMessage(`{}`), Statement: ClaimStatement{Schema: ClaimSchema, RootSHA256: Digest(nil), Namespace: "acme",
		Keys: []string{hex.EncodeToString(public)}, Threshold: 1, Contact: "dev@acme.example", Time: time.Unix(1, 0).UTC()}}
	seal(tb, c, private)
	return c, private
}

func seal(tb testing.TB, c *Claim, keys ...ed25519.PrivateKey) {
	tb.Helper()
	payload, err := c.Statement.Payload()
	if err != nil {
		tb.Fatal(err)
	}
	c.Signatures = nil
	for _, key := range keys {
		c.Signatures = append(c.Signatures, SignStatement(StatementClaim, payload, key))
	}
}

func TestClaimNeedsItsKeys(t *testing.T) {
	for name, harm := range map[string]func(*Claim, ed25519.PrivateKey){
		"unsigned":     func(c *Claim, _ ed25519.PrivateKey) { c.Signatures = nil },
		"another name": func(c *Claim, _ ed25519.PrivateKey) { c.Statement.Namespace = "zebra" },
		"signed as something else": func(c *Claim, k ed25519.PrivateKey) {
			p, _ := c.Statement.Payload()
			c.Signatures[0] = SignStatement(StatementRevocations, p, k)
		},
		"a key more, not signing": func(c *Claim, k ed25519.PrivateKey) {
			c.Statement.Keys = append(c.Statement.Keys, strings.Repeat("ab", 32))
			seal(t, c, k)
		},
		"one key twice": func(c *Claim, k ed25519.PrivateKey) {
			c.Statement.Keys = append(c.Statement.Keys, c.Statement.Keys[0])
			seal(t, c, k)
		},
		"a threshold of 0":         func(c *Claim, k ed25519.PrivateKey) { c.Statement.Threshold = 0; seal(t, c, k) },
		"a threshold beyond reach": func(c *Claim, k ed25519.PrivateKey) { c.Statement.Threshold = 2; seal(t, c, k) },
		"a bad name":               func(c *Claim, k ed25519.PrivateKey) { c.Statement.Namespace = "Acme"; seal(t, c, k) },
		"no contact":               func(c *Claim, k ed25519.PrivateKey) { c.Statement.Contact = " "; seal(t, c, k) },
		"a contact that misleads":  func(c *Claim, k ed25519.PrivateKey) { c.Statement.Contact = "a\u202eb"; seal(t, c, k) },
		"a key that is none":       func(c *Claim, k ed25519.PrivateKey) { c.Statement.Keys[0] = "00"; seal(t, c, k) },
		"a root that is none":      func(c *Claim, k ed25519.PrivateKey) { c.Statement.RootSHA256 = "x"; seal(t, c, k) },
		"another schema":           func(c *Claim, k ed25519.PrivateKey) { c.Statement.Schema = 2; seal(t, c, k) },
		"too many signatures by far": func(c *Claim, k ed25519.PrivateKey) {
			for range 100 {
				c.Signatures = append(c.Signatures, c.Signatures[0])
			}
		},
	} {
		c, key := goodClaim(t)
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseClaim(data); err != nil {
			t.Fatalf("a good claim: %v", err)
		}
		harm(c, key)
		if data, err = c.Encode(); err != nil {
			t.Fatal(err)
		}
		if _, err := ParseClaim(data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A threshold counts keys, not signatures.
func TestStatementThreshold(t *testing.T) {
	var keys []ed25519.PublicKey
	var privates []ed25519.PrivateKey
	for range 3 {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		keys, privates = append(keys, public), append(privates, private)
	}
	payload := []byte("payload")
	one := SignStatement("x", payload, privates[0])
	two := SignStatement("x", payload, privates[1])
	for name, c := range map[string]struct {
		sigs      []Signature
		threshold int
		keys      []ed25519.PublicKey
		ok        bool
	}{
		"two of three":              {[]Signature{one, two}, 2, keys, true},
		"one of three":              {[]Signature{one}, 2, keys, false},
		"one signature twice":       {[]Signature{one, one}, 2, keys, false},
		"one key listed twice":      {[]Signature{one}, 2, []ed25519.PublicKey{keys[0], keys[0]}, false},
		"a threshold of 0":          {nil, 0, keys, false},
		"a threshold beyond reach":  {[]Signature{one, two}, 4, keys, false},
		"another's signature":       {[]Signature{one, {KeyID: KeyID(keys[1]), Sig: one.Sig}}, 2, keys, false},
		"a signature that is cut":   {[]Signature{one, {KeyID: two.KeyID, Sig: two.Sig[:20]}}, 2, keys, false},
		"not hexadecimal":           {[]Signature{one, {KeyID: two.KeyID, Sig: "zz"}}, 2, keys, false},
		"a key of the wrong length": {[]Signature{one, two}, 2, []ed25519.PublicKey{keys[0], keys[1][:31]}, false},
	} {
		if err := VerifyStatement("x", payload, c.sigs, c.keys, c.threshold); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if VerifyStatement("y", payload, []Signature{one, two}, keys, 2) == nil {
		t.Error("a signature passed for another kind of statement")
	}
}

func TestRevocationConditions(t *testing.T) {
	good, bad, key := Digest([]byte("good")), Digest([]byte("bad")), Digest([]byte("key"))
	base := Revocation{Plugin: "acme/*", Versions: "*", Reason: "Stolen."}
	with := func(change func(*Revocation)) Revocation { r := base; change(&r); return r }
	for name, c := range map[string]struct {
		rev  Revocation
		s    Subject
		want bool
	}{
		"the namespace":           {base, Subject{ID: "acme/x", Version: "1.0.0"}, true},
		"another namespace":       {base, Subject{ID: "acme2/x", Version: "1.0.0"}, false},
		"a descriptor":            {with(func(r *Revocation) { r.Descriptors = []string{bad} }), Subject{ID: "acme/x", Version: "1.0.0", Descriptor: bad}, true},
		"another descriptor":      {with(func(r *Revocation) { r.Descriptors = []string{bad} }), Subject{ID: "acme/x", Version: "1.0.0", Descriptor: good}, false},
		"an exception":            {with(func(r *Revocation) { r.Except = []string{good} }), Subject{ID: "acme/x", Version: "1.0.0", Descriptor: good}, false},
		"a key":                   {with(func(r *Revocation) { r.KeyIDs = []string{key} }), Subject{ID: "acme/x", Version: "1.0.0", KeyIDs: []string{"other", key}}, true},
		"another key":             {with(func(r *Revocation) { r.KeyIDs = []string{key} }), Subject{ID: "acme/x", Version: "1.0.0", KeyIDs: []string{"other"}}, false},
		"a key, but an exception": {with(func(r *Revocation) { r.KeyIDs, r.Except = []string{key}, []string{good} }), Subject{ID: "acme/x", Version: "1.0.0", Descriptor: good, KeyIDs: []string{key}}, false},
		"versions, too":           {with(func(r *Revocation) { r.Versions = "<2.0.0" }), Subject{ID: "acme/x", Version: "2.0.0"}, false},
	} {
		if got := c.rev.Covers(c.s); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, r := range map[string]Revocation{
		"everything":       with(func(r *Revocation) { r.Plugin = "*" }),
		"a bad namespace":  with(func(r *Revocation) { r.Plugin = "Acme/*" }),
		"a bad descriptor": with(func(r *Revocation) { r.Descriptors = []string{"x"} }),
		"a bad key":        with(func(r *Revocation) { r.KeyIDs = []string{"x"} }),
		"a bad exception":  with(func(r *Revocation) { r.Except = []string{"x"} }),
	} {
		if r.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	list := &Revocations{Schema: 1, Revoked: []Revocation{base}}
	if n := list.Merge(&Revocations{Revoked: []Revocation{with(func(r *Revocation) { r.Except = []string{good} })}}); n != 1 {
		t.Errorf("a revocation with an exception took the place of one without: %d added", n)
	}
}

// FuzzParseClaim: a claim from anybody is an error or a claim, never a panic.
func FuzzParseClaim(f *testing.F) {
	c, _ := goodClaim(f)
	data, err := c.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"claim":{"schema":1,"keys":[""]},"signatures":null,"metadata":null}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if c, err := ParseClaim(data); err == nil {
			_ = CheckNamespace(c.Statement.Namespace, []string{"acme"}, nil)
		}
	})
}

// FuzzCheckNamespace: whatever is free is a namespace, and never another's look-alike.
func FuzzCheckNamespace(f *testing.F) {
	for _, s := range []string{"acme", "xn--x", "a\u0430", "rnrn", "--", "picket"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckNamespace(name, []string{"acme"}, nil) == nil && (checkNamespaceSpelling(name) != nil || skeleton(name) == skeleton("acme")) {
			t.Errorf("%q is free", name)
		}
	})
}
