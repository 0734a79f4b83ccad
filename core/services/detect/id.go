package detect

import (
	"crypto/sha256"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/sdk"
)

// FindingID names a finding by its capture and by what was found in it. The same capture analysed again, by either
// runtime of the same detector, gives the same ids; another upload, even of the same bytes, gives others.
func FindingID(capture string, f sdk.Finding) string {
	sum := sha256.Sum256([]byte(capture + "\x00" + sdk.FindingID(f)))
	// RFC 9562, version 8: an id of our own making, in the form everyone expects of an id.
	var id uuid.UUID
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// LiveFindingID names what an agent found in a run of its live traffic, for the server, and on the agent for whoever looks there
// for what it rests on. f has the id that the agent gave it.
func LiveFindingID(agent, run string, f sdk.Finding) string { return FindingID(agent+"\x00"+run, f) }
