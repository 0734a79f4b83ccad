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
