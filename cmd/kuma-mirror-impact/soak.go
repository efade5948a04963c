package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

func newSoakCommand() *cobra.Command {
	var flags labFlags
	var soak impact.SoakOptions
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Send a steady rate while the shadows keep changing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if soak.PerSecond < 1 || soak.Every < time.Second || soak.Duration < soak.Every {
				return errors.New("--per-second has to be at least 1, --every at least 1s, --duration at least --every")
			}
			o, err := flags.options()
			if err != nil {
				return err
			}
			results, err := impact.RunSoak(cmd.Context(), o, soak, func(line string) { flags.note(cmd, "%s", line) })
			return flags.finish(cmd, results, err)
		},
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&soak.PerSecond, "per-second", 100, "requests per second")
	cmd.Flags().DurationVar(&soak.Duration, "duration", 10*time.Minute, "of the whole")
	cmd.Flags().DurationVar(&soak.Every, "every", 5*time.Second, "time between two changes of the shadows")
	cmd.Flags().Uint64Var(&soak.Seed, "seed", 1, "of the order of the shadows")
	return cmd
}
