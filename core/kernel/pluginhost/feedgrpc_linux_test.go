package pluginhost

import "testing"

// A plugin without a record plane gets several batches at a time too, in one stream of gRPC: what holds of the plane must
// hold of that.

func TestAStreamByGRPCLosesAndDoublesNothing(t *testing.T) { losesAndDoublesNothing(t, "grpc") }

func TestAStreamByGRPCEndsWithAnError(t *testing.T) { endsWithAnError(t, "grpc error") }

func TestAStreamByGRPCThatHangs(t *testing.T) { hangs(t, "grpc hang") }

func TestAStreamByGRPCThatIsGivenUp(t *testing.T) { isGivenUp(t, "grpc") }
