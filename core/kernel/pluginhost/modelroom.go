package pluginhost

import (
	"fmt"
	"sync"
)

// modelRoom bounds the memory in which the models of all processes lie. It is the host's: no limit of a plugin counts it, and
// whoever assigns plugins could have as many read models as there are.
type modelRoom struct {
	most int64 // in bytes; 0 is no bound

	mu   sync.Mutex
	used int64 // guarded by mu
}

// take takes room for a model, which give returns. There may be room again once another process has ended.
func (r *modelRoom) take(size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.most > 0 && r.used+size > r.most {
		return fmt.Errorf("%d MiB of models are open on this node, which may have %d MiB, half of its memory; there is no room for another %d MiB",
			r.used>>20, r.most>>20, (size+1<<20-1)>>20)
	}
	r.used += size
	return nil
}

func (r *modelRoom) give(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= size
}
