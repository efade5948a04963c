package impact

import (
	"bytes"
	"context"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// converse greets as an HTTP/2 server with these settings, acknowledges
// settings and pings, and gives the stream of each HEADERS to answer, until
// that returns false or the connection ends. It never opens a window.
func converse(conn net.Conn, answer func(framer *http2.Framer, stream uint32) bool, settings ...http2.Setting) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	framer := http2.NewFramer(conn, conn)
	if framer.WriteSettings(settings...) != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = framer.WritePing(true, frame.Data)
			}
		case *http2.HeadersFrame:
			if !answer(framer, frame.StreamID) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// resetAnswer2 is resetAnswer for HTTP/2.
func resetAnswer2(ctx context.Context, conn net.Conn) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	_ = encoder.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	converse(conn, func(framer *http2.Framer, stream uint32) bool {
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
		_ = framer.WriteData(stream, false, []byte("half of "))
		wait(ctx, 5*time.Millisecond)
		return false
	})
}

// goAway refuses every stream by going away, thrice, and stays.
func goAway(_ context.Context, conn net.Conn) {
	converse(conn, func(framer *http2.Framer, _ uint32) bool {
		for range 3 {
			if framer.WriteGoAway(0, http2.ErrCodeNo, nil) != nil {
				return false
			}
		}
		return true
	})
}

// noWindow lets requests come, but not a byte of their bodies.
func noWindow(_ context.Context, conn net.Conn) {
	converse(conn, func(*http2.Framer, uint32) bool { return true },
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
}

func resetStreams(_ context.Context, conn net.Conn) {
	converse(conn, func(framer *http2.Framer, stream uint32) bool {
		return framer.WriteRSTStream(stream, http2.ErrCodeInternal) == nil
	})
}
