package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kuma-mirror/kuma-mirror/generator"
	"github.com/kuma-mirror/kuma-mirror/internal/envoybin"
	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

// impactFlags are those of the lab itself, the same for all that run it.
type impactFlags struct {
	envoy       string
	concurrency int
	shadows     []string
	loads       []string
	protocols   []string
	protections string
	limits      generator.Limits
	output      string
	results     string
	quiet       bool
}

func newImpactCommand() *cobra.Command {
	var (
		flags  impactFlags
		quick  bool
		rounds int
	)
	cmd := &cobra.Command{
		Use:   "impact",
		Short: "Try what a bad shadow does to the primary",
		Long: `impact puts a real Envoy between a client, a primary and a shadow that
misbehaves in one of many ways, and judges whether the client noticed: each kind
of request with each shadow, beside the same requests without a mirror.

Nothing is needed but an Envoy; all of it is on 127.0.0.1. Try your own limits:

  kuma-mirror impact --quick --max-concurrent-requests 32
  kuma-mirror impact --shadow never-reads --load upload --protections both

With --protections off the copies go to the shadow's ordinary cluster, as other
control planes send them; what happens then is shown and not judged.

Exit codes: 0 nobody noticed, 1 somebody did or the lab failed, 2 wrong usage.

Shadows:
` + listOf(impact.Shadows(), func(s impact.Shadow) (string, string) {
			if s.HTTP2 {
				return s.Name, s.About + " (HTTP/2 only)"
			}
			return s.Name, s.About
		}) + `
Loads:
` + listOf(impact.Loads(), func(l impact.Load) (string, string) { return l.Name, l.About }),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rounds < 0 {
				return errors.New("--rounds cannot be negative")
			}
			o, err := flags.options()
			if err != nil {
				return err
			}
			o.Quick, o.Rounds = quick, rounds
			o.Progress = func(done, all int, c impact.Cell) {
				flags.note(cmd, "%3d/%d %s", done, all, cellLine(c))
			}
			results, err := impact.Run(cmd.Context(), o)
			return flags.finish(cmd, results, err)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&quick, "quick", false, "fewer requests, and not every load for every shadow: a few minutes")
	cmd.Flags().IntVar(&rounds, "rounds", 0, "rounds of uploads and bursts, whose medians count (default 3, quick 1)")
	cmd.Flags().StringSliceVar(&flags.loads, "load", nil, "only these loads")
	cmd.AddCommand(newImpactRateCommand(), newImpactSoakCommand(), newImpactChartCommand(), newImpactMatrixCommand(), newImpactShadowCommand())
	return cmd
}

func newImpactRateCommand() *cobra.Command {
	var flags impactFlags
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
	cmd.Flags().IntVar(&rate.PerSecond, "per-second", 2000, "requests per second")
	cmd.Flags().DurationVar(&rate.Duration, "duration", 10*time.Second, "of each round")
	cmd.Flags().IntVar(&rate.Rounds, "rounds", 3, "rounds, whose medians count")
	return cmd
}

func newImpactSoakCommand() *cobra.Command {
	var flags impactFlags
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

func newImpactChartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "chart RESULTS.json",
		Short: "Draw a results file as SVG",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			results, err := impact.ReadResults(args[0])
			if err != nil {
				return &failure{exitFailed, err}
			}
			_, err = cmd.OutOrStdout().Write(impact.Chart(results))
			return err
		},
	}
}

func newImpactMatrixCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "matrix RESULTS.json",
		Short: "Write a results file as the Markdown tables of docs/impact.md",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			results, err := impact.ReadResults(args[0])
			if err != nil {
				return &failure{exitFailed, err}
			}
			_, err = io.WriteString(cmd.OutOrStdout(), impact.Matrix(results))
			return err
		},
	}
}

// newImpactShadowCommand is the process of the shadows, which the lab starts.
func newImpactShadowCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "shadow",
		Short:  "Be the shadows of the lab",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return impact.ServeShadow(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

func (f *impactFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.envoy, "envoy", "", "the Envoy to run (default: $ENVOY, the pinned one, envoy on PATH)")
	flags.IntVar(&f.concurrency, "concurrency", 1, "worker threads of Envoy")
	flags.StringSliceVar(&f.shadows, "shadow", nil, "only these shadows")
	flags.StringSliceVar(&f.protocols, "protocol", nil, "only these protocols of the shadow: http1, http2")
	flags.StringVar(&f.protections, "protections", "on", "on, off or both")
	flags.Uint32Var(&f.limits.MaxConcurrentRequests, "max-concurrent-requests", generator.DefaultLimits.MaxConcurrentRequests, "limits.maxConcurrentRequests of the mirror")
	flags.Uint32Var(&f.limits.MaxRequestBodyBytes, "max-request-body-bytes", generator.DefaultLimits.MaxRequestBodyBytes, "limits.maxRequestBodyBytes of the mirror")
	flags.DurationVar(&f.limits.MaxDuration, "max-duration", generator.DefaultLimits.MaxDuration, "limits.maxDuration of the mirror")
	flags.StringVarP(&f.output, "output", "o", "table", "table, json or yaml")
	flags.StringVar(&f.results, "results", "", "a JSON file to write the results to; what it holds already stays, unless it was run again")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress on standard error")
}

func (f *impactFlags) options() (impact.Options, error) {
	o := impact.Options{Concurrency: f.concurrency, Limits: f.limits, Shadows: f.shadows, Loads: f.loads}
	for _, p := range f.protocols {
		o.Protocols = append(o.Protocols, impact.Protocol(p))
	}
	switch f.protections {
	case "on":
		o.Protections = []bool{true}
	case "off":
		o.Protections = []bool{false}
	case "both":
		o.Protections = []bool{true, false}
	default:
		return o, fmt.Errorf("--protections is %q; it is on, off or both", f.protections)
	}
	switch f.output {
	case "table", "json", "yaml":
	default:
		return o, fmt.Errorf("--output is %q; it is table, json or yaml", f.output)
	}
	var err error
	if o.Envoy, err = envoybin.Find(f.envoy); err != nil {
		return o, &failure{exitFailed, err}
	}
	program, err := os.Executable()
	if err != nil {
		return o, &failure{exitFailed, err}
	}
	o.Worker = []string{program, "impact", "shadow"}
	return o, o.Validate()
}

func (f *impactFlags) note(cmd *cobra.Command, format string, args ...any) {
	if !f.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
	}
}

// finish writes and prints what there is, also after an error.
func (f *impactFlags) finish(cmd *cobra.Command, results *impact.Results, err error) error {
	if results == nil {
		return &failure{exitFailed, err}
	}
	if f.results != "" {
		err = errors.Join(err, saveResults(f.results, results))
	}
	err = errors.Join(err, f.print(cmd.OutOrStdout(), results))
	if err != nil {
		return &failure{exitFailed, err}
	}
	if problems := results.AllProblems(impact.Lenient); len(problems) > 0 {
		return &failure{exitFailed, errors.New("the primary noticed:\n  " + strings.Join(problems, "\n  "))}
	}
	return nil
}

// saveResults adds to the file, if there is one.
func saveResults(file string, results *impact.Results) error {
	kept, err := impact.ReadResults(file)
	if errors.Is(err, fs.ErrNotExist) {
		return results.Write(file)
	}
	if err != nil {
		return err
	}
	if err := kept.Add(results); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return kept.Write(file)
}

func (f *impactFlags) print(w io.Writer, results *impact.Results) error {
	switch f.output {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(results)
	case "yaml":
		out, err := yaml.Marshal(results)
		if err != nil {
			return err
		}
		_, err = w.Write(out)
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(results.Cells) > 0 {
		fmt.Fprintln(table, "SHADOW\tOVER\tLOAD\tPROTECTIONS\tFAILED\tUPLOAD\tP99\tMEMORY\tRESUMED\tLEFT")
	}
	for _, c := range results.Cells {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d/%d\t%s\t%s\t%+d MiB\t%s\t%d\n", c.Shadow, c.Protocol, c.Load, onOff(c.Protections),
			c.Failed, c.Requests, uploadText(c), answersText(c), max(c.Allocated, c.Resident)>>20, resumedText(c), c.LeftRequests)
	}
	if len(results.Rates) > 0 {
		fmt.Fprintln(table, "SHADOW\tOVER\tRATE\tPROTECTIONS\tFAILED\tP50\tP99\tENVOY CPU\tSHADOW CPU\tCLIENT AND PRIMARY CPU")
	}
	for _, r := range results.Rates {
		fmt.Fprintf(table, "%s\t%s\t%d/s\t%s\t%d/%d\t%.2f ms\t%.2f ms\t%.2f s\t%.2f s\t%.2f s\n", r.Shadow, r.Protocol, r.PerSecond, onOff(r.Protections),
			r.Failed, r.Requests, r.Latency.P50, r.Latency.P99, r.EnvoyCPU, r.ShadowCPU, r.ClientCPU)
	}
	if s := results.Soak; s != nil {
		first, last := s.Memory[0], s.Memory[len(s.Memory)-1]
		fmt.Fprintf(table, "soak\t%.0f s\t%d/s\t%d changes\t%d/%d failed\tp50 %.2f ms\tp99 %.2f ms\tallocated %d → %d MiB\tresident %d → %d MiB\t%d left\n",
			s.Seconds, s.PerSecond, s.Changes, s.Failed, s.Requests, s.Latency.P50, s.Latency.P99,
			first.Allocated>>20, last.Allocated>>20, first.Resident>>20, last.Resident>>20, s.LeftRequests)
	}
	return table.Flush()
}

func cellLine(c impact.Cell) string {
	line := fmt.Sprintf("%s over %s, %s, protections %s: %d of %d failed", c.Shadow, c.Protocol, c.Load, onOff(c.Protections), c.Failed, c.Requests)
	for _, text := range []string{uploadText(c), answersText(c)} {
		if text != "" {
			line += ", " + text
		}
	}
	return fmt.Sprintf("%s, %+d MiB, mirroring again after %s", line, max(c.Allocated, c.Resident)>>20, resumedText(c))
}

func onOff(protections bool) string {
	if protections {
		return "on"
	}
	return "off"
}

func uploadText(c impact.Cell) string {
	switch {
	case c.Upload == nil:
		return ""
	case c.Hung:
		return "hung"
	}
	return fmt.Sprintf("%.2f s (× %.2f)", c.Upload.Mirrored, c.Upload.Ratio)
}

func answersText(c impact.Cell) string {
	switch a := c.Answers; {
	case a == nil:
		return ""
	case c.Hung:
		return "hung"
	case a.Healthy == nil:
		return fmt.Sprintf("%.1f ms (none %.1f)", a.Mirrored.P99, a.Plain.P99)
	default:
		return fmt.Sprintf("%.1f ms (healthy %.1f, none %.1f)", a.Mirrored.P99, a.Healthy.P99, a.Plain.P99)
	}
}

func resumedText(c impact.Cell) string {
	if c.Resumed < 0 {
		return "never"
	}
	return fmt.Sprintf("%.1f s", c.Resumed)
}

func listOf[T any](all []T, line func(T) (name, about string)) string {
	var out strings.Builder
	for _, t := range all {
		name, about := line(t)
		fmt.Fprintf(&out, "  %-15s %s\n", name, about)
	}
	return out.String()
}
