package pluginhost

import (
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/core/kernel/pluginhost/crashlog"
)

// A frame whose memory is used again is in the record of a crash as the plugin was shown it.
func TestLastCallOfABatch(t *testing.T) {
	for _, packed := range []bool{false, true} {
		var l lastCall
		done := 0
		b := batch.New([]byte("frame"), 1, nil, nil)
		b.Done = func() { done++ }
		if packed {
			b.Packed = s2.Encode(nil, b.Frame)
		}
		l.shows(shownOf("capture", b))
		b.Release()
		if done != 0 {
			copy(b.Frame, "other")
		}
		step := l.take(time.Now(), "1.0.0")
		if step == nil || step.Call != "Inspect" || step.Capture != "capture" || string(step.Frame) != "frame" || packed != (done == 1) {
			t.Errorf("packed %v: the last step is %+v, its memory was given back %d times", packed, step, done)
		}
		if !sameStep(*step, crashlog.Step{Call: "Inspect", Capture: "capture", Frame: []byte("frame")}) || sameStep(*step, crashlog.Step{Call: "Inspect", Capture: "capture", Frame: []byte("later")}) {
			t.Errorf("packed %v: what the journal has already is not told from what it has not", packed)
		}
	}
}
