package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

func newRateCommand() *cobra.Command {
	var flags labFlags
	var rate impact.RateOptions
	cmd := &cobra.Command{
		Use:   "rate",
		Short: "Compare latency and CPU time at a steady rate",
		Long: `rate sends GETs at a steady rate without a mirror and with each shadow, in turn,
and shows the primary's latency and the CPU time of Envoy, of the shadow, and of
client and primary, each by itself.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rate.PerSecond < 1 || rate.Rounds < 1 || rate.Duration < time.Second {
				return errors.New("--per-second and --rounds have to be at least 1, --duration at least 1s")
			}
			o, err := flags.options()
			if err != nil {
				return err
			}
			results, err := impact.MeasureRate(cmd.Context(), o, rate, func(line string) { flags.note(cmd, "%s", line) })
			return flags.finish(cmd, results, err)
		},
	}
	flags.add(cmd)
	flags.addProtections(cmd, "on")
	cmd.Flags().IntVar(&rate.PerSecond, "per-second", 2000, "requests per second")
	cmd.Flags().DurationVar(&rate.Duration, "duration", 3*time.Second, "of each round")
	cmd.Flags().IntVar(&rate.Rounds, "rounds", 9, "rounds, whose medians count")
	return cmd
}
