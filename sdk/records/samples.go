package records

import "github.com/picketwatch/picket/sdk"

// SampleWriter gathers samples into one frame at a time, as they come.
type SampleWriter struct{ rowWriter[sdk.Sample] }

var sampleCodec = codec[sdk.Sample]{&sampleLayout, putSample, getSample}

// NewSampleWriter returns a writer of frames of at most limit rows.
func NewSampleWriter(limit int) *SampleWriter {
	return &SampleWriter{rowWriter[sdk.Sample]{codec: &sampleCodec, rowsLimit: limit, bytesLimit: MaxFrame}}
}
