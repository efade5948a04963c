package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/internal/demo"
	"github.com/kuma-mirror/kuma-mirror/internal/envoybin"
)

func newDemoCommand() *cobra.Command {
	var (
		ports         = demo.DefaultPorts
		check         bool
		envoy, format string
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch requests being mirrored, on this machine",
		Long: `demo starts two backends (primary and shadow), the host and an Envoy in front
of them, shows what happens to a few requests, and runs until Ctrl-C:

  http://localhost:10001/api/v1   every request is copied to the shadow
  http://localhost:10001/api/v2   half of them are
  http://localhost:10001/api/v3   none is
  http://localhost:9902           Envoy's admin API

The policy is examples/demo/traffic-route.yaml. Everything listens on 127.0.0.1.

With --check nobody has to watch: it runs the demo's test cases, kills the
shadow at the end, and prints what was expected and what was seen. It takes
free ports where no flag names one, so a demo can be running beside it.

Exit codes: 0 when stopped or when every check passed; 1 when something could
not be started or a check failed; 2 for a wrong command line.`,
		Example: `  kuma-mirror demo
  kuma-mirror demo --port 8000 --admin-port 8001
  kuma-mirror demo --check
  kuma-mirror demo --check -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(demo.Formats(), format) {
				return fmt.Errorf("--output %q: has to be one of %s", format, strings.Join(demo.Formats(), ", "))
			}
			if !check && cmd.Flags().Changed("output") {
				return errors.New("--output is for demo --check alone")
			}
			if check {
				for flag, port := range map[string]*int{
					"port": &ports.Listener, "admin-port": &ports.Admin, "xds-port": &ports.XDS,
					"primary-port": &ports.Primary, "shadow-port": &ports.Shadow,
				} {
					if !cmd.Flags().Changed(flag) {
						*port = 0
					}
				}
			}
			if err := ports.Validate(); err != nil {
				return err
			}
			passed, err := runDemo(cmd, check, format, demo.Options{Ports: ports, Envoy: envoy})
			if err != nil {
				return &failure{code: exitFailed, err: err}
			}
			if !passed {
				return &failure{code: exitFailed}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&ports.Listener, "port", ports.Listener, "port of Envoy's listener; 0 takes a free one, here and below")
	flags.IntVar(&ports.Admin, "admin-port", ports.Admin, "port of Envoy's admin API")
	flags.IntVar(&ports.Primary, "primary-port", ports.Primary, "port of the primary backend")
	flags.IntVar(&ports.Shadow, "shadow-port", ports.Shadow, "port of the shadow backend")
	flags.IntVar(&ports.XDS, "xds-port", ports.XDS, "port of the host, which configures Envoy")
	flags.StringVar(&envoy, "envoy", "", "`program` to run as Envoy, a path or a name on PATH (default: $ENVOY, else what 'make envoy' got, else envoy on PATH)")
	flags.BoolVar(&check, "check", false, "check that mirroring works, print a table, and end")
	flags.StringVarP(&format, "output", "o", "table", "with --check: "+strings.Join(demo.Formats(), ", "))
	return cmd
}

// runDemo reports whether all checks passed; a demo that ran without them has
// passed.
func runDemo(cmd *cobra.Command, check bool, format string, o demo.Options) (passed bool, err error) {
	if o.Envoy, err = envoybin.Find(o.Envoy); err != nil {
		return false, err
	}
	self, err := os.Executable()
	if err != nil {
		return false, fmt.Errorf("cannot find this program, which is also the backends': %w", err)
	}
	o.Backend = []string{self, "backend"}
	o.Stdout, o.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	o.Log = slog.New(slog.NewTextHandler(o.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if !check {
		return true, demo.Run(cmd.Context(), o)
	}
	report, err := demo.Check(cmd.Context(), o)
	if cmd.Context().Err() != nil {
		return false, errors.New("interrupted")
	}
	if err != nil {
		return false, err
	}
	return report.Passed, report.Write(o.Stdout, format, demo.WantsColor(o.Stdout))
}
