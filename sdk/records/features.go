package records

import "github.com/picketwatch/picket/sdk"

// A frame of flows has the Features of all of them or of none, so that its rows are of one size: the first flow decides.
func withFeatures(flows []sdk.Flow) bool { return len(flows) > 0 && flows[0].Features != nil }

func appendFlows(dst []byte, flows []sdk.Flow) writer {
	if withFeatures(flows) {
		return appendRows(dst, flows, &longFlowLayout, putLongFlow)
	}
	return appendRows(dst, flows, &flowLayout, putFlow)
}

func putLongFlow(w *writer, v *sdk.Flow) {
	putFlow(w, v)
	putFeatures(w.buf[w.row:], v.Features)
}

// HasFeatures reports whether the rows of a frame of flows hold Features.
func HasFeatures(frame []byte) bool {
	h, err := parseHeader(frame)
	return err == nil && flowLayout.accepts(h) == nil && h.rowSize > featuresAt
}

// DecodeFlowFeatures is DecodeFlows with the Features of the flows, where the frame has them.
func DecodeFlowFeatures(frame []byte, into []sdk.Flow) ([]sdk.Flow, error) {
	if err := Verify(frame); err != nil {
		return nil, err
	}
	return DecodeVerifiedFlowFeatures(frame, into)
}

// DecodeVerifiedFlowFeatures is DecodeFlowFeatures without the checksum.
func DecodeVerifiedFlowFeatures(frame []byte, into []sdk.Flow) ([]sdk.Flow, error) {
	var slab []sdk.Features
	return decodeRows(frame, into, &flowLayout, func(r *reader, row []byte, v *sdk.Flow) {
		have := v.Features
		getFlow(r, row, v)
		if len(row) <= featuresAt {
			return
		}
		if have == nil {
			if len(slab) == 0 {
				slab = make([]sdk.Features, Chunk)
			}
			have, slab = &slab[0], slab[1:]
		}
		getFeatures(row, have)
		v.Features = have
	})
}
