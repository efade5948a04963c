package impact

import (
	"context"
	"time"
)

// bench is an Envoy with a client before it and a primary and a shadow behind.
// Its shadow is a process of its own, so that a bad one disturbs no other bench.
type bench struct {
	envoy    *envoy
	primary  *primary
	client   *client
	shade    *shade
	port     uint32 // of the shadow
	protocol Protocol
	ports    *ports
}

// startBench starts everything, with a healthy shadow.
func startBench(ctx context.Context, o Options, protocol Protocol, protections bool) (_ *bench, err error) {
	ports, err := reservePorts(7)
	if err != nil {
		return nil, err
	}
	shade, err := startShade(o.Worker)
	if err != nil {
		ports.release()
		return nil, err
	}
	n := ports.numbers
	b := &bench{shade: shade, port: n[0], protocol: protocol, ports: ports}
	defer func() {
		if err != nil {
			b.stop()
		}
	}()
	if b.primary, err = startPrimary(n[1], n[2]); err != nil {
		return nil, err
	}
	if err = b.become(ctx, Healthy); err != nil {
		return nil, err
	}
	bootstrap, err := Bootstrap(ctx, Setup{
		Shadow: n[0], PrimaryHTTP: n[1], PrimaryGRPC: n[2],
		HTTP: n[3], GRPC: n[4], Direct: n[5], Admin: n[6],
		Protocol: protocol, Protections: protections, Limits: o.Limits,
	})
	if err != nil {
		return nil, err
	}
	if b.envoy, err = startEnvoy(ctx, o.Envoy, bootstrap, o.Concurrency); err != nil {
		return nil, err
	}
	// Without protections a hang is what is expected; it need not last longer
	// than Envoy's own connect timeout of 5 s and an upload after it.
	patience := 7 * time.Second
	if protections {
		patience = 30 * time.Second
	}
	b.client, err = newClient(n[3], n[4], patience)
	return b, err
}

func (b *bench) stop() {
	if b.client != nil {
		b.client.close()
	}
	if b.envoy != nil {
		b.envoy.stop()
	}
	if b.primary != nil {
		b.primary.stop()
	}
	// Nothing stands at a port that is given back.
	b.shade.close()
	b.ports.release()
}

func (b *bench) become(ctx context.Context, shadow string) error {
	return b.shade.become(ctx, shadow, b.port, b.protocol)
}
