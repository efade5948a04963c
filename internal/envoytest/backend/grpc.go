package backend

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
)

// Call is what a gRPC backend got.
type Call struct {
	Method    string // "/grpc.testing.TestService/UnaryCall"
	Authority string
	Metadata  metadata.MD
	// Messages are the client's, in order.
	Messages []proto.Message
	// Err is not nil if the call ended with an error, e.g. because the client
	// went away.
	Err error
	// ServerName is the SNI; empty without TLS.
	ServerName string
}

// GRPC is a backend with gRPC's own health service and its interop service
// grpc.testing.TestService: EmptyCall and UnaryCall, StreamingInputCall,
// StreamingOutputCall and FullDuplexCall. Payloads are echoed, server_id is the
// backend's name, and so is the header x-backend-name. A call counts when it
// has ended. Methods may be called concurrently.
type GRPC struct {
	listener
	options Options

	recorded sync.Mutex
	calls    []Call
}

// StartGRPC starts a backend, which the caller has to Stop.
func StartGRPC(options Options) (*GRPC, error) {
	b := &GRPC{options: options}
	b.start = b.serve
	return b, b.Restart()
}

// RunGRPC is StartGRPC for the running spec.
func RunGRPC(options Options) *GRPC { return run(StartGRPC(options)) }

func (b *GRPC) serve(socket net.Listener) func() {
	options := []grpc.ServerOption{
		grpc.UnaryInterceptor(b.unary),
		grpc.StreamInterceptor(b.stream),
		grpc.WaitForHandlers(true),
	}
	if b.options.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(b.options.TLS.Clone())))
	}
	server := grpc.NewServer(options...)
	testpb.RegisterTestServiceServer(server, &testService{name: b.options.Name})
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(socket)
	}()
	return func() {
		server.Stop()
		<-done
	}
}

// Count is the number of calls that ended since the start or the last Reset.
func (b *GRPC) Count() int {
	b.recorded.Lock()
	defer b.recorded.Unlock()
	return len(b.calls)
}

// Calls returns the calls in the order in which they ended.
func (b *GRPC) Calls() []Call {
	b.recorded.Lock()
	defer b.recorded.Unlock()
	return slices.Clone(b.calls)
}

// Reset forgets all calls.
func (b *GRPC) Reset() {
	b.recorded.Lock()
	defer b.recorded.Unlock()
	b.calls = nil
}

func (b *GRPC) record(ctx context.Context, method string, messages []proto.Message, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	call := Call{Method: method, Metadata: md.Copy(), Messages: messages, Err: err}
	if authority := md.Get(":authority"); len(authority) > 0 {
		call.Authority = authority[0]
	}
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			call.ServerName = info.State.ServerName
		}
	}
	b.recorded.Lock()
	defer b.recorded.Unlock()
	b.calls = append(b.calls, call)
}

func (b *GRPC) header() metadata.MD { return metadata.Pairs("x-backend-name", b.options.Name) }

func (b *GRPC) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := grpc.SetHeader(ctx, b.header()); err != nil {
		return nil, err
	}
	response, err := handle(ctx, request)
	b.record(ctx, info.FullMethod, []proto.Message{request.(proto.Message)}, err)
	return response, err
}

func (b *GRPC) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := stream.SetHeader(b.header()); err != nil {
		return err
	}
	recording := &recordingStream{ServerStream: stream}
	err := handle(service, recording)
	b.record(stream.Context(), info.FullMethod, recording.messages, err)
	return err
}

// recordingStream keeps what it receives; a stream has one receiver at a time.
type recordingStream struct {
	grpc.ServerStream
	messages []proto.Message
}

func (s *recordingStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.messages = append(s.messages, proto.Clone(m.(proto.Message)))
	}
	return err
}

type testService struct {
	testpb.UnimplementedTestServiceServer
	name string
}

func (s *testService) EmptyCall(context.Context, *testpb.Empty) (*testpb.Empty, error) {
	return &testpb.Empty{}, nil
}

func (s *testService) UnaryCall(_ context.Context, request *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	return &testpb.SimpleResponse{Payload: request.GetPayload(), ServerId: s.name}, nil
}

func (s *testService) StreamingInputCall(stream grpc.ClientStreamingServer[testpb.StreamingInputCallRequest, testpb.StreamingInputCallResponse]) error {
	var size int32
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: size})
		}
		if err != nil {
			return err
		}
		size += int32(len(request.GetPayload().GetBody()))
	}
}

func (s *testService) StreamingOutputCall(request *testpb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testpb.StreamingOutputCallResponse]) error {
	for _, parameters := range request.GetResponseParameters() {
		payload := &testpb.Payload{Body: make([]byte, parameters.GetSize())}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: payload}); err != nil {
			return err
		}
	}
	return nil
}

func (s *testService) FullDuplexCall(stream grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: request.GetPayload()}); err != nil {
			return err
		}
	}
}
