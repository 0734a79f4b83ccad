package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// The headers of the Standard Webhooks specification (standardwebhooks.com), for which receivers find libraries in
// most languages. The id is that of the notice, the same for each retry, so that a receiver can drop a repetition; the
// time is signed with it, so that an old request cannot be sent again later.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"

	keyPrefix = "whsec_"
)

// signingKey returns the bytes of the secret, nil when there is none.
func signingKey(secret string) ([]byte, error) {
	if secret == "" {
		return nil, nil
	}
	encoded, ok := strings.CutPrefix(secret, keyPrefix)
	if !ok {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, sdk.Errorf(sdk.InvalidConfig, "secret: what follows %s is not base64", keyPrefix)
	}
	return key, nil
}

// sign returns the value of the signature header: HMAC-SHA256 over id, time and body.
func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
