package traffic

import (
	"context"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// RecordedFacts are the kinds of facts that a Recorder is given whoever else wants them. Files cost a digest of every byte, so
// they are recorded when a detector asks for them.
var RecordedFacts = []string{
	sdk.FactsDNS, sdk.FactsTLS, sdk.FactsHTTP, sdk.FactsSMB, sdk.FactsDHCP, sdk.FactsARP, sdk.FactsOT, sdk.FactsLogins, sdk.FactsMessages,
}

// A Recorder keeps what one capture holds: frames of rows (sdk/records) in the order in which the worker sent them, a fact
// before its flow. Its methods are called from one goroutine. The frames belong to the caller again once a call returns, and
// are not changed while it runs: detectors read the same bytes.
//
// An error of Flows or Facts ends the recording and not the analysis: the capture's notes say that its flows are not kept.
type Recorder interface {
	// Flows takes flows, with features where the worker was asked for them.
	Flows(ctx context.Context, flows records.Parcel) error
	// Facts takes facts of one kind (sdk.FactKinds).
	Facts(ctx context.Context, kind string, facts records.Parcel) error
	// Close ends the recording, once, whatever happened before. Complete says that the capture was read to its end, or to where
	// it is damaged; otherwise this is as much as was seen before the analysis stopped.
	Close(ctx context.Context, complete bool) error
}
