package flow

import (
	"testing"
	"unsafe"
)

// The default bound is one of memory: what a flow takes decides how many there may be.
func TestOpenFlowsAreBoundedByMemory(t *testing.T) {
	one, more := unsafe.Sizeof(entry{}), unsafe.Sizeof(more{})
	for features, size := range map[bool]uintptr{false: one, true: one + more} {
		n := Config{Features: features}.withDefaults().MaxFlows
		if bytes := uintptr(n) * size; bytes > flowBytes || bytes+size <= flowBytes {
			t.Errorf("features %v: %d flows of %d bytes in %d", features, n, size, flowBytes)
		}
		t.Logf("features %v: %d flows", features, n)
	}
	if n := (Config{MaxFlows: 7}).withDefaults().MaxFlows; n != 7 {
		t.Errorf("%d flows instead of the 7 that were asked for", n)
	}
}
