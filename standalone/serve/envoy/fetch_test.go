package envoy_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/internal/envoytest"
	"github.com/kuma-mirror/kuma-mirror/standalone/serve/envoy"
)

type bootstraps struct {
	api.UnimplementedBootstrapServiceServer
	// busy, where it is set, says whether this address has to wait.
	busy func() bool
}

func (b bootstraps) GetBootstrap(_ context.Context, r *api.GetBootstrapRequest) (*api.GetBootstrapResponse, error) {
	if b.busy != nil && b.busy() {
		return nil, status.Error(codes.ResourceExhausted, "too many unknown tokens have come from this address")
	}
	if r.GetDataplane() != "web" {
		return nil, status.Error(codes.NotFound, "there is only web")
	}
	return &api.GetBootstrapResponse{NodeId: r.GetMesh() + ".web"}, nil
}

var _ = Describe("asking the host for a bootstrap", func() {
	var address string
	var log *gbytes.Buffer

	BeforeEach(func() {
		address = fmt.Sprintf("127.0.0.1:%d", envoytest.FreePorts(1)[0])
		log = gbytes.NewBuffer()
	})

	serve := func(register func(*grpc.Server)) {
		GinkgoHelper()
		l, err := net.Listen("tcp", address)
		Expect(err).NotTo(HaveOccurred())
		server := grpc.NewServer()
		register(server)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.Serve(l)
		}()
		DeferCleanup(func() {
			server.Stop()
			Eventually(done).Should(BeClosed())
		})
	}
	host := func(s *grpc.Server) { api.RegisterBootstrapServiceServer(s, bootstraps{}) }
	fetch := func(ctx context.Context, dataplane string) (*api.GetBootstrapResponse, error) {
		return envoy.Fetch(ctx, address, envoy.Security{}, "shop", dataplane, slog.New(slog.NewTextHandler(log, nil)))
	}

	It("gets it", func(ctx SpecContext) {
		serve(host)
		answer, err := fetch(ctx, "web")
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.GetNodeId()).To(Equal("shop.web"))
		Expect(log.Contents()).To(BeEmpty())
	})

	It("waits for a host that is not there yet, and says so", func(ctx SpecContext) {
		answers := make(chan *api.GetBootstrapResponse, 1)
		go func() {
			defer GinkgoRecover()
			answer, err := fetch(ctx, "web")
			Expect(err).NotTo(HaveOccurred())
			answers <- answer
		}()
		Eventually(log).WithTimeout(5 * time.Second).Should(gbytes.Say("waiting for the host at " + address + ".*kuma-mirror run -f DIR"))
		serve(host)
		Eventually(answers).WithTimeout(5 * time.Second).Should(Receive())
	}, SpecTimeout(20*time.Second))

	It("waits while the host takes no token from here, as others have sent wrong ones", func(ctx SpecContext) {
		var calls atomic.Int32
		serve(func(s *grpc.Server) {
			api.RegisterBootstrapServiceServer(s, bootstraps{busy: func() bool { return calls.Add(1) <= 2 }})
		})
		answer, err := fetch(ctx, "web")
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.GetNodeId()).To(Equal("shop.web"))
		Expect(log).To(gbytes.Say("waiting for the host at " + address + ", which takes no token from this address for a while.*too many unknown tokens"))
	}, SpecTimeout(20*time.Second))

	It("ends waiting when it is told to", func() {
		ctx, cancel := context.WithCancel(context.Background())
		errs := make(chan error, 1)
		go func() {
			_, err := fetch(ctx, "web")
			errs <- err
		}()
		Eventually(log).WithTimeout(5 * time.Second).Should(gbytes.Say("waiting"))
		cancel()
		Eventually(errs).WithTimeout(5 * time.Second).Should(Receive(MatchError(context.Canceled)))
	})

	It("passes on why the host refuses", func(ctx SpecContext) {
		serve(host)
		_, err := fetch(ctx, "wev")
		Expect(err).To(MatchError("the host at " + address + ": there is only web"))
	})

	It("does not wait for something that is no host", func(ctx SpecContext) {
		serve(func(*grpc.Server) {})
		_, err := fetch(ctx, "web")
		Expect(err).To(MatchError("what listens at " + address + " is no kuma-mirror host"))
	})
})
