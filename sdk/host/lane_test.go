//go:build unix

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"github.com/picketwatch/picket/sdk/records"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
)

// answering is a plugin whose InspectStream does what the test wants.
type answering struct {
	pb.UnimplementedDetectorServiceServer
	stream func(grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error
}

func (a answering) InspectStream(s grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error {
	return a.stream(s)
}

// echo answers a batch with the name of its capture.
func echo(s grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error {
	req, err := s.Recv()
	if err != nil {
		return err
	}
	return s.Send(&pb.InspectStreamResponse{Findings: []*pb.Finding{{Summary: req.GetCapture()}}})
}

// laneTo returns a lane to a plugin, without a process.
func laneTo(t *testing.T, window int, stream func(grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error) *lane {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(wire.MaxMessage))
	pb.RegisterDetectorServiceServer(server, answering{stream: stream})
	go server.Serve(lis) //nolint:errcheck // it ends with the test
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///plugin", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec())),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p := &Process{name: "p", conn: conn, runner: &process{cmd: &exec.Cmd{}, exited: make(chan struct{})}}
	return newLane(p, "i", window)
}

func mustSend(t *testing.T, l *lane, capture string, frame []byte) pending {
	t.Helper()
	p, err := l.Send(testContext(t), capture, frame)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// said is what a plugin said of a batch.
func said(t *testing.T, p pending) (string, error) {
	t.Helper()
	body, err := p.Wait(testContext(t))
	if err != nil {
		return "", err
	}
	var resp pb.InspectStreamResponse
	if err := proto.Unmarshal(body, &resp); err != nil || len(resp.GetFindings()) == 0 {
		return "", err
	}
	return resp.GetFindings()[0].GetSummary(), nil
}

// until waits until something is so.
func until(t *testing.T, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never comes")
		}
	}
}

func TestALaneIsBounded(t *testing.T) {
	step := make(chan struct{})
	l := laneTo(t, 3, func(s grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error {
		for range step {
			if err := echo(s); err != nil {
				return err
			}
		}
		return nil
	})
	defer close(step)
	var sent []pending
	for n := range 3 {
		sent = append(sent, mustSend(t, l, fmt.Sprint(n), []byte("frame")))
	}
	ended, cancel := context.WithTimeout(testContext(t), 20*time.Millisecond)
	defer cancel()
	if _, err := l.Send(ended, "3", []byte("frame")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a fourth batch: %v", err)
	}
	if batches, size := l.InFlight(); batches != 3 || size != 3*len("frame") {
		t.Errorf("%d batches of %d bytes are on their way", batches, size)
	}
	for n, p := range sent {
		step <- struct{}{}
		if got, err := said(t, p); err != nil || got != fmt.Sprint(n) {
			t.Errorf("the answer to %d: %q, %v", n, got, err)
		}
	}
	p := mustSend(t, l, "4", []byte("frame"))
	if !l.Fits("", make([]byte, laneBytes-5), nil) || l.Fits("", make([]byte, laneBytes-4), nil) {
		t.Error("the bytes of the window are not those without answer")
	}
	step <- struct{}{}
	if got, err := said(t, p); err != nil || got != "4" {
		t.Errorf("%q, %v", got, err)
	}
	if err := l.Drain(testContext(t)); err != nil || !l.Fits("", make([]byte, records.MaxFrame), nil) {
		t.Errorf("one batch alone must always fit, %v", err)
	}
}

func TestALaneKeepsItsOrder(t *testing.T) {
	l := laneTo(t, 4, func(s grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error {
		for {
			if err := echo(s); err != nil {
				return err
			}
		}
	})
	answers := make(chan pending, 2) // so that some are on their way
	go func() {
		defer close(answers)
		frame := make([]byte, 300<<10)
		for n := range 60 {
			p, err := l.Send(testContext(t), fmt.Sprint(n), frame)
			if err != nil {
				t.Error(err)
				return
			}
			answers <- p
		}
	}()
	n := 0
	for p := range answers {
		if got, err := said(t, p); err != nil || got != fmt.Sprint(n) {
			t.Fatalf("the answer to %d: %q, %v", n, got, err)
		}
		n++
	}
	if n != 60 {
		t.Errorf("%d answers", n)
	}
}

// A batch that nobody waits for any more keeps its place until it is answered.
func TestALaneWithABatchThatIsGivenUp(t *testing.T) {
	step := make(chan struct{})
	l := laneTo(t, 1, func(s grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error {
		for range step {
			if err := echo(s); err != nil {
				return err
			}
		}
		return nil
	})
	defer close(step)
	p := mustSend(t, l, "0", nil)
	gone, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := p.Wait(gone); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := l.Drain(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("what is not answered is drained: %v", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- l.Drain(testContext(t)) }()
	step <- struct{}{}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	p = mustSend(t, l, "1", nil)
	step <- struct{}{}
	if got, err := said(t, p); err != nil || got != "1" {
		t.Errorf("%q, %v", got, err)
	}
}

// A plugin that takes nothing holds up a sender only as long as that one wants, who then has the frame back.
func TestALaneThatIsNotRead(t *testing.T) {
	calls, ends := make(chan struct{}, 2), make(chan struct{}, 2)
	l := laneTo(t, 4, func(s grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error {
		calls <- struct{}{}
		<-s.Context().Done()
		ends <- struct{}{}
		return s.Context().Err()
	})
	first := mustSend(t, l, "c", []byte("short"))
	<-calls
	ctx, cancel := context.WithCancel(testContext(t))
	failed := make(chan error, 1)
	frame := bytes.Repeat([]byte("x"), laneBytes-10) // more than this plugin's gRPC takes unread
	go func() {
		_, err := l.Send(ctx, "c", frame)
		failed <- err
	}()
	until(t, func() bool {
		batches, _ := l.InFlight()
		return batches == 2
	})
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	clear(frame)                         // the race detector would see gRPC read it
	mustSend(t, l, "c", []byte("short")) // its batch came in part: that call is over, and this is another
	<-calls
	<-ends
	if _, err := first.Wait(testContext(t)); err == nil {
		t.Error("a batch of a call that is over was answered")
	}
	if batches, size := l.InFlight(); batches != 1 || size != 5 {
		t.Errorf("%d batches of %d bytes are on their way", batches, size)
	}
}

// A call that ends costs its batches, and the next batch begins another one.
func TestALaneWhoseCallEnds(t *testing.T) {
	calls := 0
	l := laneTo(t, 4, func(s grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error {
		calls++
		switch _, err := s.Recv(); {
		case err != nil || calls == 1:
			return err
		case calls == 2:
			return status.Error(codes.ResourceExhausted, "too much")
		}
		if err := s.Send(&pb.InspectStreamResponse{}); err != nil {
			return err
		}
		return echo(s)
	})
	for _, want := range []string{"the plugin ended its stream of answers", "too much"} {
		if _, err := mustSend(t, l, "c", nil).Wait(testContext(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	a, b := mustSend(t, l, "a", nil), mustSend(t, l, "b", nil)
	if got, err := said(t, a); err != nil || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := said(t, b); err != nil || got != "b" {
		t.Errorf("%q, %v", got, err)
	}
	if l.process.Fault() != nil {
		t.Error(l.process.Fault())
	}
}

func TestAnAnswerToNothingEndsTheProcess(t *testing.T) {
	l := laneTo(t, 4, func(s grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error {
		if err := echo(s); err != nil {
			return err
		}
		return s.Send(&pb.InspectStreamResponse{})
	})
	if got, err := said(t, mustSend(t, l, "c", nil)); err != nil || got != "c" {
		t.Errorf("%q, %v", got, err)
	}
	until(t, func() bool { return l.process.Fault() != nil })
}

func TestAnAnswerThatDoesNotParseEndsTheProcess(t *testing.T) {
	p := &Process{name: "p", runner: &process{cmd: &exec.Cmd{}, exited: make(chan struct{})}}
	i := &Instance{id: "i", process: p}
	err := i.take(testContext(t), answer{[]byte("\xff\xff"), nil}, &sinks{})
	if sdk.ClassOf(err) != sdk.Internal || p.Fault() == nil {
		t.Errorf("%v, %v", err, p.Fault())
	}
}

// What was sent before the end is answered; after it nothing is sent.
func TestALaneThatIsClosed(t *testing.T) {
	step, over := make(chan struct{}), make(chan error, 1)
	l := laneTo(t, 4, func(s grpc.BidiStreamingServer[pb.InspectStreamRequest, pb.InspectStreamResponse]) error {
		for range step {
			if err := echo(s); err != nil {
				over <- err
				return nil
			}
		}
		return nil
	})
	a, b := mustSend(t, l, "a", nil), mustSend(t, l, "b", nil)
	l.Close()
	if _, err := l.Send(testContext(t), "c", nil); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("sent to an instance that was stopped: %v", err)
	}
	for _, c := range []struct {
		p    pending
		want string
	}{{a, "a"}, {b, "b"}} {
		step <- struct{}{}
		if got, err := said(t, c.p); err != nil || got != c.want {
			t.Errorf("%q, %v", got, err)
		}
	}
	step <- struct{}{}
	if err := <-over; err == nil || err.Error() != "EOF" {
		t.Errorf("the plugin does not hear of the end: %v", err)
	}
}

func TestBatchesTravelInAStream(t *testing.T) {
	for _, c := range []struct {
		name     string
		oneByOne bool
		want     int
	}{{"several at a time", false, 4}, {"one by one", true, 1}} {
		t.Run(c.name, func(t *testing.T) {
			cfg, _ := testConfig(t, "honest")
			if cfg.Records != nil {
				cfg.Records.Close()
			}
			cfg.Records, cfg.Ring, cfg.oneByOne = nil, nil, c.oneByOne
			cfg.Cmd.Env, cfg.Cmd.ExtraFiles = cfg.Cmd.Env[:1], nil
			p, err := Start(testContext(t), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Kill)
			i := configureAs(t, p, "i", "test/fanout", `{"limit": 50}`)
			if i.Window() != c.want {
				t.Errorf("a window of %d", i.Window())
			}
			var got sinks
			ends := 0
			s := i.Stream(&got, func(_ uint64, err error) {
				if err != nil {
					t.Error(err)
				}
				ends++
			})
			flows := testFlows(200)
			for n := range 20 {
				if err := s.Send(testContext(t), "c", records.AppendFlows(nil, flows[n*10:n*10+10])); err != nil {
					t.Fatal(err)
				}
			}
			s.Wait(testContext(t))
			if err := i.Flush(testContext(t), &got); err != nil || ends != 20 || len(got.findings) == 0 {
				t.Errorf("%d answers, findings %v, %v", ends, got.findings, err)
			}
		})
	}
}
