//go:build !wasip1

package reach

import (
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/state"
)

// MaxStateValue is the largest value of a State in bytes.
const MaxStateValue = state.MaxValue

// State returns the key-value store in a folder, which must exist when it is used. An empty path gives a store that
// refuses.
func State(folder string) sdk.State { return state.Open(folder) }

// Store is the key-value store in a folder, for all processes of one instance: those in charge, one after the other, and those
// that have a draft over it. Only one Store may be open for a folder, because it keeps them from storing over each other.
type Store = state.Dir

// OpenStore returns the store in a folder, which must exist when it is used.
func OpenStore(folder string) *Store { return state.Open(folder) }

// Draft is a State that reads from a store and keeps what is put into it to itself, until Commit takes it over or Discard
// throws it away. Commit fails with ErrOvertaken, and changes nothing, when the store got a newer value for a key that the
// draft changed.
type Draft = state.Draft

// NewDraft makes a draft over a store, with its own values in a folder beside that of the store. What an earlier draft left
// there is lost.
func NewDraft(store *Store, own string) (*Draft, error) { return state.NewDraft(store, own) }

// ErrOvertaken says that the store got a newer value for a key, after the process with the draft had read or changed it. A new
// draft of a new process can be taken over.
var ErrOvertaken = state.ErrOvertaken
