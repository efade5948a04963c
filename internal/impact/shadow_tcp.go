package impact

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// neverRead leaves what arrives to the kernel's buffers.
func neverRead(ctx context.Context, _ net.Conn) { <-ctx.Done() }

func readSlowly(ctx context.Context, conn net.Conn) {
	var one [1]byte
	for {
		if _, err := conn.Read(one[:]); err != nil || !wait(ctx, time.Second) {
			return
		}
	}
}

// resetAtOnce relies on accepting, which resets.
func resetAtOnce(context.Context, net.Conn) {}

// resetRequest takes less than the shortest request, in either protocol.
func resetRequest(_ context.Context, conn net.Conn) {
	var some [16]byte
	_, _ = io.ReadFull(conn, some[:])
}

func resetAnswer(ctx context.Context, conn net.Conn) {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, request.Body)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of ")
	// Time to be read: the RST may overtake it.
	wait(ctx, 5*time.Millisecond)
}

// answerGarbage goes on reading, so that it is the answer that ends the
// connection.
func answerGarbage(_ context.Context, conn net.Conn) {
	block := make([]byte, 32<<10)
	if _, err := conn.Read(block); err != nil {
		return
	}
	garbage := make([]byte, 4<<10)
	for i := range garbage {
		garbage[i] = byte(i*i*7 + 13)
	}
	if _, err := conn.Write(garbage); err == nil {
		_, _ = io.CopyBuffer(io.Discard, conn, block)
	}
}
