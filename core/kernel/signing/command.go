package signing

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// commandContext keeps the signature of a command from meaning anything else.
const commandContext = "picket-command-v1\n"

// Command is an order to one agent, as it travels.
type Command struct {
	ID        string          `json:"id"`
	Agent     string          `json:"agent"`
	Type      string          `json:"type"`
	Args      json.RawMessage `json:"args"`
	Issued    time.Time       `json:"issued"`
	Expires   time.Time       `json:"expires"`
	Signature []byte          `json:"signature"` // base64 in JSON
}

// SignCommand returns the command with its arguments in canonical form and its signature set. Times are cut to whole
// microseconds, which is what the store keeps.
func SignCommand(c Command, key ed25519.PrivateKey) (Command, error) {
	args, err := canonical(c.Args)
	if err != nil {
		return Command{}, fmt.Errorf("sign command %s: args: %w", c.ID, err)
	}
	c.Args = args
	c.Issued, c.Expires = c.Issued.UTC().Truncate(time.Microsecond), c.Expires.UTC().Truncate(time.Microsecond)
	message, err := c.message()
	if err != nil {
		return Command{}, fmt.Errorf("sign command %s: %w", c.ID, err)
	}
	c.Signature = ed25519.Sign(key, message)
	return c, nil
}

// VerifyCommand says whether agent may run the command now. It returns it with its arguments in the form that was
// signed; use those and not what came over the wire. That it runs only once is for the agent to see to.
func VerifyCommand(c Command, key ed25519.PublicKey, agent string, now time.Time) (Command, error) {
	args, err := canonical(c.Args)
	if err != nil {
		return Command{}, refuse(Malformed, "", "args: %s", err)
	}
	c.Args = args
	message, err := c.message()
	if err != nil {
		return Command{}, refuse(Malformed, "", "%s", err)
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, message, c.Signature) {
		return Command{}, refuse(BadSignature, "", "command %s is not from this server", c.ID)
	}
	if c.Agent != agent {
		return Command{}, refuse(WrongAgent, "", "command %s is for agent %s", c.ID, c.Agent)
	}
	if !now.Before(c.Expires) {
		return Command{}, refuse(Expired, "", "command %s expired at %s", c.ID, c.Expires.Format(time.RFC3339))
	}
	return c, nil
}

// message is what is signed: the fields by name in alphabetical order, times as microseconds since 1970.
func (c Command) message() ([]byte, error) {
	body, err := json.Marshal(map[string]any{
		"agent": c.Agent, "args": c.Args, "expires": c.Expires.UnixMicro(), "id": c.ID,
		"issued": c.Issued.UnixMicro(), "type": c.Type,
	})
	if err != nil {
		return nil, err
	}
	return append([]byte(commandContext), body...), nil
}

// canonical returns the JSON with members sorted, numbers as they were written and no white space. Of members with the
// same name the last one stays. Nothing becomes {}.
func canonical(raw json.RawMessage) (json.RawMessage, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return json.RawMessage("{}"), nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return json.Marshal(v)
}
