package echo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Facts declares a detector that says back a digest of each fact that it was given.
func Facts() sdk.Plugin {
	return sdk.Plugin{
		ID: "test/facts", Kind: sdk.KindDetector, Summary: "Says back each fact.",
		Subscription: sdk.Subscription{Facts: sdk.FactKinds},
		Rules:        []sdk.Rule{{ID: "fact", Purpose: "There is a fact.", Severity: sdk.SeverityInfo}},
		New:          func() sdk.Instance { return &facts{} },
	}
}

type facts struct{}

func (*facts) Config() any { return nil }

func (*facts) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	all := []any{b.DNS, b.TLS, b.HTTP, b.SMB, b.DHCP, b.ARP, b.OT, b.Files, b.Logins, b.Messages, b.Contents}
	for i, list := range all {
		said, err := digests(list)
		if err != nil {
			return err
		}
		for _, digest := range said {
			at := time.Unix(1, 0).UTC()
			if err := sink.Finding(sdk.Finding{
				Rule: "fact", Severity: sdk.SeverityInfo, Src: sdk.FactKinds[i], Dst: b.Capture, Start: at, End: at, Summary: digest,
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (*facts) Flush(context.Context, sdk.FindingSink) error { return nil }

// digests are those of what each record says. What is empty counts as not there: an empty list and none are the same.
func digests(list any) ([]string, error) {
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	var rows []map[string]any
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, err
	}
	var out []string
	for _, row := range rows {
		for name, value := range row {
			switch v := value.(type) {
			case nil:
				delete(row, name)
			case string:
				if v == "" {
					delete(row, name)
				}
			case []any:
				if len(v) == 0 {
					delete(row, name)
				}
			case map[string]any:
				if len(v) == 0 {
					delete(row, name)
				}
			}
		}
		text, err := json.Marshal(row) // ordered by name
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		out = append(out, hex.EncodeToString(sum[:]))
	}
	return out, nil
}
