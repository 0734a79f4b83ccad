package signing

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"time"
)

// configContext keeps the signature of a configuration from meaning anything else.
const configContext = "picket-config-v1\n"

// Config is what one agent should run, as it travels.
type Config struct {
	Agent       string          `json:"agent"`
	Version     int64           `json:"version"`
	Issued      time.Time       `json:"issued"`
	Assignments json.RawMessage `json:"assignments"`
	Signature   []byte          `json:"signature"` // base64 in JSON
}

// SignConfig returns the configuration with its assignments in canonical form and its signature set. The time is cut
// to whole microseconds.
func SignConfig(c Config, key ed25519.PrivateKey) (Config, error) {
	list, err := canonical(c.Assignments)
	if err != nil {
		return Config{}, fmt.Errorf("sign configuration %d: assignments: %w", c.Version, err)
	}
	c.Assignments, c.Issued = list, c.Issued.UTC().Truncate(time.Microsecond)
	message, err := c.message()
	if err != nil {
		return Config{}, fmt.Errorf("sign configuration %d: %w", c.Version, err)
	}
	c.Signature = ed25519.Sign(key, message)
	return c, nil
}

// VerifyConfig says whether the configuration is the server's for this agent. It returns it with its assignments in
// the form that was signed; use those and not what came over the wire. That it is not an older one is for the agent to
// see to.
func VerifyConfig(c Config, key ed25519.PublicKey, agent string) (Config, error) {
	if len(c.Signature) == 0 {
		return Config{}, refuse(Unsigned, "", "configuration %d carries no signature", c.Version)
	}
	list, err := canonical(c.Assignments)
	if err != nil {
		return Config{}, refuse(Malformed, "", "assignments: %s", err)
	}
	c.Assignments = list
	message, err := c.message()
	if err != nil {
		return Config{}, refuse(Malformed, "", "%s", err)
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, message, c.Signature) {
		return Config{}, refuse(BadSignature, "", "configuration %d is not from this server", c.Version)
	}
	if c.Agent != agent {
		return Config{}, refuse(WrongAgent, "", "configuration %d is for agent %s", c.Version, c.Agent)
	}
	return c, nil
}

// message is what is signed: the fields by name in alphabetical order, the time as microseconds since 1970.
func (c Config) message() ([]byte, error) {
	body, err := json.Marshal(map[string]any{
		"agent": c.Agent, "assignments": c.Assignments, "issued": c.Issued.UnixMicro(), "version": c.Version,
	})
	if err != nil {
		return nil, err
	}
	return append([]byte(configContext), body...), nil
}
