package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

// logLevels are those of --log-level, and of slog.
var logLevels = []string{"debug", "info", "warn", "error"}

// logFlags are the flags of commands that log.
type logFlags struct{ level, format string }

func (f *logFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.format, "log-format", "text", "text or json")
}

// logger returns a logger and its level, which can be changed at any time.
func (f *logFlags) logger(w io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	if err := oneOf("log-level", f.level, logLevels...); err != nil {
		return nil, nil, err
	}
	level := &slog.LevelVar{}
	must(level.UnmarshalText([]byte(f.level)))
	if err := oneOf("log-format", f.format, "text", "json"); err != nil {
		return nil, nil, err
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: clipAttr}
	if f.format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), level, nil
	}
	return slog.New(slog.NewTextHandler(w, options)), level, nil
}

// maxLogText is the longest text of one attribute. Names, paths and reasons of
// callers are among them, and none of those may fill the disk.
const maxLogText = 4096

// clipAttr shortens what is too long for a log, wherever it comes from. Stacks
// are this program's own.
func clipAttr(_ []string, a slog.Attr) slog.Attr {
	if a.Key == "stack" {
		return a
	}
	var text string
	switch v := a.Value.Any().(type) {
	case string:
		text = v
	case error:
		text = v.Error()
	case fmt.Stringer:
		text = v.String()
	}
	if len(text) > maxLogText {
		a.Value = slog.StringValue(fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:maxLogText], ""), len(text)))
	}
	return a
}
