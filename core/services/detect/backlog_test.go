package detect

import "testing"

// TestABacklogIsBounded fills a queue by bytes, lets some of it go, and goes round more often than the queue is long.
func TestABacklogIsBounded(t *testing.T) {
	const queue, size = 10, liveBytes / 4
	var b backlog
	waiting := 0
	for round := range 10 {
		for range 4 {
			if !b.fits(waiting, size) {
				t.Fatalf("round %d: %d frames have no room", round, waiting)
			}
			b.add(size, queue)
			waiting++
		}
		if b.fits(waiting, 1) {
			t.Fatalf("round %d: one byte more than may be has room", round)
		}
		waiting = round % 4 // the reader took the others
		if waiting > 0 && b.fits(waiting, (4-waiting)*size+1) || !b.fits(waiting, (4-waiting)*size) {
			t.Fatalf("round %d: %d frames wait", round, waiting)
		}
		waiting = 0
	}
	if !b.fits(0, liveBytes+1) {
		t.Error("a frame that is larger than all that may wait is never shown")
	}
}
