package impact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// requestID tells each request from all others; the primary sends it back.
const requestID = "x-impact-request"

// primary is the service that answers: each answer says what arrived.
type primary struct {
	http, grpc uint32
	stopHTTP   func()
	server     *grpc.Server
	done       chan struct{}
}

func startPrimary(httpPort, grpcPort uint32) (*primary, error) {
	httpListener, err := net.Listen("tcp", loopback(httpPort))
	if err != nil {
		return nil, err
	}
	grpcListener, err := net.Listen("tcp", loopback(grpcPort))
	if err != nil {
		_ = httpListener.Close()
		return nil, err
	}
	p := &primary{
		http: httpPort, grpc: grpcPort,
		stopHTTP: serve(httpListener, http.HandlerFunc(answerDigest)),
		server:   grpc.NewServer(),
		done:     make(chan struct{}),
	}
	p.server.RegisterService(&grpcService, struct{}{})
	go func() {
		defer close(p.done)
		_ = p.server.Serve(grpcListener)
	}()
	return p, nil
}

func (p *primary) stop() {
	p.stopHTTP()
	p.server.Stop()
	<-p.done
}

func loopback(port uint32) string {
	return net.JoinHostPort("127.0.0.1", strconv.FormatUint(uint64(port), 10))
}

// digest is what the primary answers to a body.
type digest struct {
	sha256 string
	length int64
}

func (d digest) String() string { return fmt.Sprintf("%s %d", d.sha256, d.length) }

func digestOf(r io.Reader) (digest, error) {
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	return digest{hex.EncodeToString(hash.Sum(nil)), n}, err
}

func answerDigest(w http.ResponseWriter, r *http.Request) {
	d, err := digestOf(r.Body)
	if err != nil {
		return // the client is gone
	}
	w.Header().Set(requestID, r.Header.Get(requestID))
	_, _ = io.WriteString(w, d.String())
}

// The gRPC service has a method that answers the digest of a payload and one
// that sends back each message.
const (
	unaryMethod = "/impact.Lab/Digest"
	bidiMethod  = "/impact.Lab/Echo"
)

var bidiDesc = grpc.StreamDesc{StreamName: "Echo", Handler: echo, ServerStreams: true, ClientStreams: true}

var grpcService = grpc.ServiceDesc{
	ServiceName: "impact.Lab",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Digest", Handler: digestPayload}},
	Streams:     []grpc.StreamDesc{bidiDesc},
}

func digestPayload(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	payload := &wrapperspb.BytesValue{}
	if err := decode(payload); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(payload.GetValue())
	if err := grpc.SetHeader(ctx, identity(ctx)); err != nil {
		return nil, err
	}
	return wrapperspb.Bytes(sum[:]), nil
}

func echo(_ any, stream grpc.ServerStream) error {
	if err := stream.SetHeader(identity(stream.Context())); err != nil {
		return err
	}
	for {
		message := &wrapperspb.BytesValue{}
		if err := stream.RecvMsg(message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
}

func identity(ctx context.Context) metadata.MD {
	md, _ := metadata.FromIncomingContext(ctx)
	return metadata.MD{requestID: md.Get(requestID)}
}
