package serve

// The exports of the guest come with the package.
import _ "github.com/picketwatch/picket/sdk/guest"

// Main does nothing in a guest.
func Main() {}
