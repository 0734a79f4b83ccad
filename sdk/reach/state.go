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

// Draft is a State that reads from the store in a folder and keeps what is put into it to itself, until Commit takes it over
// or Discard throws it away.
type Draft = state.Draft

// NewDraft makes a draft over the store in a folder, with its own values in another folder beside it. What an earlier draft
// left there is lost.
func NewDraft(folder, own string) (*Draft, error) { return state.NewDraft(state.Open(folder), own) }

// FinishCommit finishes what Commit of a draft had begun to take over into the store in this folder, if the host died over
// it. Nobody may use the store meanwhile.
func FinishCommit(folder string) error { return state.Merge(folder) }
