package records

// What is kept of the maps of a frame for the next one.
const (
	maxMaps    = 1024 // of them: a full frame of facts has fewer
	maxEntries = 32   // in each: a map never becomes smaller
)

// maps are those of the rows of one frame, which are filled again for the next one.
type maps struct {
	list []map[string]string
	used int // for the frame that is being read
}

// begin is called for each frame. What is left in a map of texts that lie in an earlier frame would hold on to that frame.
func (m *maps) begin() {
	for _, old := range m.list[:m.used] {
		clear(old)
	}
	m.used = 0
}

// next is an empty map with room for n entries, of its own when m is nil.
func (m *maps) next(n int) map[string]string {
	if m == nil || n > maxEntries {
		return make(map[string]string, n)
	}
	if m.used < len(m.list) {
		old := m.list[m.used]
		m.used++
		return old
	}
	made := make(map[string]string, n)
	if len(m.list) < maxMaps {
		m.list, m.used = append(m.list, made), m.used+1
	}
	return made
}
