package registry

import (
	"strings"
	"testing"
	"time"
)

func testReceipt() *Receipt {
	return &Receipt{RootSHA256: Digest([]byte("root")), ID: "acme/ping", Version: "1.0.0", Descriptor: Digest([]byte("d")),
		Action: ActionInstalled, Time: indexTime.Add(1500 * time.Millisecond)}
}

func testReview() *Review {
	return &Review{RootSHA256: Digest([]byte("root")), ID: "acme/ping", Version: "1.0.0", Descriptor: Digest([]byte("d")),
		Stars: 4, Text: "Fine.\nWould <b>ping</b> again.", Time: indexTime}
}

func TestReceiptRoundTrip(t *testing.T) {
	key := testKey(1)
	r := testReceipt()
	if err := r.Sign(key); err != nil {
		t.Fatal(err)
	}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseReceipt(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Verify(publicOf(key)); err != nil {
		t.Error(err)
	}
	if err := back.Verify(publicOf(testKey(2))); err == nil {
		t.Error("another node's key fits")
	}
	for name, change := range map[string]func(r *Receipt){
		"node":       func(r *Receipt) { r.Node = KeyID(publicOf(testKey(2))) },
		"version":    func(r *Receipt) { r.Version = "2.0.0" },
		"action":     func(r *Receipt) { r.Action = ActionRemoved },
		"time":       func(r *Receipt) { r.Time = r.Time.Add(time.Hour) },
		"descriptor": func(r *Receipt) { r.Descriptor = Digest(nil) },
		"root":       func(r *Receipt) { r.RootSHA256 = Digest(nil) },
	} {
		changed := *back
		change(&changed)
		if changed.Verify(publicOf(key)) == nil {
			t.Errorf("%s changed: still signed", name)
		}
	}
}

// A signature over one kind of statement does not pass for another.
func TestReceiptSignatureIsNotAReviews(t *testing.T) {
	key := testKey(1)
	review, receipt := testReview(), testReceipt()
	if err := review.Sign(key); err != nil {
		t.Fatal(err)
	}
	payload, err := encode(receipt)
	if err != nil {
		t.Fatal(err)
	}
	sig := SignStatement(StatementReview, payload, key)
	receipt.Schema, receipt.Node, receipt.Signature = NodeStatementSchema, KeyID(publicOf(key)), &sig
	if receipt.Verify(publicOf(key)) == nil {
		t.Error("signed as a review, taken as a receipt")
	}
	if err := review.Verify(publicOf(key)); err != nil {
		t.Error(err)
	}
}

func TestReviewRefused(t *testing.T) {
	for name, change := range map[string]func(r *Review){
		"no stars":            func(r *Review) { r.Stars = 0 },
		"six stars":           func(r *Review) { r.Stars = 6 },
		"a long text":         func(r *Review) { r.Text = strings.Repeat("x", maxReviewText+1) },
		"a control character": func(r *Review) { r.Text = "a\x00b" },
		"text right to left":  func(r *Review) { r.Text = "\u202eevil" },
		"space at the end":    func(r *Review) { r.Text = "fine " },
		"no id":               func(r *Review) { r.ID = "ping" },
		"no version":          func(r *Review) { r.Version = "1" },
	} {
		r := testReview()
		change(r)
		if err := r.Sign(testKey(1)); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func FuzzParseReceipt(f *testing.F) {
	key := testKey(1)
	receipt, review := testReceipt(), testReview()
	for _, sign := range []error{receipt.Sign(key), review.Sign(key)} {
		if sign != nil {
			f.Fatal(sign)
		}
	}
	for _, encode := range []func() ([]byte, error){receipt.Encode, review.Encode} {
		data, err := encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseReceipt(data); err == nil && r.Verify(publicOf(key)) == nil && *r.Signature != *receipt.Signature {
			t.Errorf("a forged receipt: %s", data)
		}
		if r, err := ParseReview(data); err == nil && r.Verify(publicOf(key)) == nil && *r.Signature != *review.Signature {
			t.Errorf("a forged review: %s", data)
		}
	})
}
