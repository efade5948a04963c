package impact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

// order is what the lab tells the process of its shadows: stand there and behave
// so, or, without a shadow's name, only report.
type order struct {
	Shadow   string   `json:"shadow,omitempty"`
	Port     uint32   `json:"port,omitempty"`
	Protocol Protocol `json:"protocol,omitempty"`
}

// report is the answer to each order.
type report struct {
	Error string `json:"error,omitempty"`
	// Received is how many requests a healthy shadow has got whole since the
	// process started.
	Received int64 `json:"received"`
}

// ServeShadow is the process of the shadows: it does what the lab writes to its
// standard input until that ends.
func ServeShadow(in io.Reader, out io.Writer) error {
	var received atomic.Int64
	stop := func() {}
	defer func() { stop() }()
	orders, reports := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var r report
		if o.Shadow != "" {
			stop()
			stop = func() {}
			again, err := o.start(&received)
			if err != nil {
				r.Error = err.Error()
			} else {
				stop = again
			}
		}
		r.Received = received.Load()
		if err := reports.Encode(r); err != nil {
			return err
		}
	}
}

func (o order) start(received *atomic.Int64) (func(), error) {
	shadows, err := shadowsNamed([]string{o.Shadow})
	if err != nil {
		return nil, err
	}
	return shadows[0].start(place{
		address:  net.JoinHostPort("127.0.0.1", strconv.Itoa(int(o.Port))),
		protocol: o.Protocol,
		received: received,
	})
}

// shade is the process of the shadows as the lab sees it. One order at a time.
type shade struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	orders  *json.Encoder
	reports *json.Decoder
	mu      sync.Mutex
}

func startShade(command []string) (*shade, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	// Away from a terminal's Ctrl-C; it ends with its standard input.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the process of the shadows: %w", err)
	}
	return &shade{cmd: cmd, in: in, orders: json.NewEncoder(in), reports: json.NewDecoder(out)}, nil
}

// close ends the process, which ends by itself when nobody can order it.
func (s *shade) close() {
	_ = s.in.Close()
	_ = s.cmd.Wait()
}

func (s *shade) pid() int { return s.cmd.Process.Pid }

func (s *shade) do(ctx context.Context, o order) (report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var r report
	if err := ctx.Err(); err != nil {
		return r, err
	}
	if err := s.orders.Encode(o); err != nil {
		return r, fmt.Errorf("the process of the shadows: %w", err)
	}
	if err := s.reports.Decode(&r); err != nil {
		return r, fmt.Errorf("the process of the shadows: %w", err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("shadow %s: %s", o.Shadow, r.Error)
	}
	return r, nil
}

// become makes the shadow on the port behave like s from now on; what stood
// there before is reset.
func (s *shade) become(ctx context.Context, name string, port uint32, protocol Protocol) error {
	_, err := s.do(ctx, order{Shadow: name, Port: port, Protocol: protocol})
	return err
}

// received is how many requests healthy shadows have got.
func (s *shade) received(ctx context.Context) (int64, error) {
	r, err := s.do(ctx, order{})
	return r.Received, err
}
