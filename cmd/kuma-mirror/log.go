package main

import (
	"io"
	"log/slog"

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
	options := &slog.HandlerOptions{Level: level}
	if f.format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), level, nil
	}
	return slog.New(slog.NewTextHandler(w, options)), level, nil
}
