package records

import "github.com/picketwatch/picket/sdk"

// SampleWriter gathers samples into one frame at a time, as they come.
type SampleWriter struct {
	w     writer
	limit int
	rows  int
}

// NewSampleWriter returns a writer of frames of at most limit rows.
func NewSampleWriter(limit int) *SampleWriter { return &SampleWriter{limit: limit} }

// Add writes one sample and keeps nothing of it. The writer must not be full.
func (s *SampleWriter) Add(v *sdk.Sample) {
	if s.rows == 0 {
		keys := s.w.keys
		s.w = sampleLayout.newWriter(s.w.buf[:0], s.limit)
		s.w.keys = keys
	}
	putSample(&s.w, v)
	s.w.row += sampleLayout.rowSize
	s.rows++
}

// Full reports whether no further sample fits into the frame.
func (s *SampleWriter) Full() bool { return s.rows == s.limit }

// Rows is the number of samples in the frame so far.
func (s *SampleWriter) Rows() int { return s.rows }

// Size is the length of the frame so far, in bytes.
func (s *SampleWriter) Size() int {
	if s.rows == 0 {
		return 0
	}
	return headerSize + s.rows*sampleLayout.rowSize + len(s.w.buf) - s.w.heap
}

// Frame returns the frame with what was added since the last one, without a checksum, and begins the next. It is valid
// until the next Add.
func (s *SampleWriter) Frame() []byte {
	w := &s.w
	end := headerSize + s.rows*sampleLayout.rowSize
	n := copy(w.buf[end:], w.buf[w.heap:]) // what is in the heap is counted from its first byte
	w.buf, w.heap, w.count, s.rows = w.buf[:end+n], end, s.rows, 0
	return w.finishLocal()
}
