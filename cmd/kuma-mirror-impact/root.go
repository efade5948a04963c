package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/generator"
	"github.com/kuma-mirror/kuma-mirror/internal/envoybin"
	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

// labFlags are those of the lab itself, the same for all that run it.
type labFlags struct {
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

func newRootCommand() *cobra.Command {
	var (
		flags  labFlags
		quick  bool
		rounds int
	)
	cmd := &cobra.Command{
		Use:   "kuma-mirror-impact",
		Short: "Try what a bad shadow does to the primary",
		Long: `kuma-mirror-impact puts a real Envoy between a client, a primary and a shadow that
misbehaves in one of many ways, and judges whether the client noticed: each kind
of request with each shadow. In each round, requests without a mirror, with the
plain policy and with kuma-mirror take turns, and every figure is a ratio to no
mirror in the same round.

Only an Envoy is needed; everything listens on 127.0.0.1. The limits of the
mirror are flags, so that you can try your own.

With the plain policy (--protections off), copies go to the shadow's ordinary
cluster, without limits of their own. What happens then is shown and not judged.

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
		Example: `  kuma-mirror-impact --quick --max-concurrent-requests 32
  kuma-mirror-impact --shadow never-reads --load upload,burst --rounds 6`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
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
	cmd.Flags().IntVar(&rounds, "rounds", 0, "rounds of each load, whose medians count; intervals need 6 (default 12 of uploads, 6 of the others; quick 1)")
	flags.addProtections(cmd, "both")
	cmd.Flags().StringSliceVar(&flags.loads, "load", nil, "only these loads")
	var loads []string
	for _, l := range impact.Loads() {
		loads = append(loads, l.Name)
	}
	complete(cmd, "load", loads...)
	cmd.AddCommand(newRateCommand(), newSoakCommand(), newChartCommand(), newMatrixCommand(), newShadowCommand())
	return cmd
}

// newShadowCommand is the process of the shadows, which the lab starts.
func newShadowCommand() *cobra.Command {
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

func (f *labFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.envoy, "envoy", "", "the Envoy to run (default: $ENVOY, the pinned one, envoy on PATH)")
	flags.IntVar(&f.concurrency, "concurrency", 1, "worker threads of Envoy")
	flags.StringSliceVar(&f.shadows, "shadow", nil, "only these shadows")
	flags.StringSliceVar(&f.protocols, "protocol", nil, "only these protocols of the shadow: http1, http2")
	flags.Uint32Var(&f.limits.MaxConcurrentRequests, "max-concurrent-requests", generator.DefaultLimits.MaxConcurrentRequests, "limits.maxConcurrentRequests of the mirror")
	flags.Uint32Var(&f.limits.MaxRequestBodyBytes, "max-request-body-bytes", generator.DefaultLimits.MaxRequestBodyBytes, "limits.maxRequestBodyBytes of the mirror")
	flags.DurationVar(&f.limits.MaxDuration, "max-duration", generator.DefaultLimits.MaxDuration, "limits.maxDuration of the mirror")
	flags.StringVarP(&f.output, "output", "o", "table", "table, json or yaml")
	flags.StringVar(&f.results, "results", "", "a JSON file to write the results to; what it holds already stays, unless it was run again")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress on standard error")
	var shadows []string
	for _, s := range impact.Shadows() {
		shadows = append(shadows, s.Name)
	}
	complete(cmd, "shadow", shadows...)
	complete(cmd, "protocol", string(impact.HTTP1), string(impact.HTTP2))
	complete(cmd, "output", "table", "json", "yaml")
}

func (f *labFlags) addProtections(cmd *cobra.Command, value string) {
	cmd.Flags().StringVar(&f.protections, "protections", value, "on, off (the plain policy), or both, in turn")
	complete(cmd, "protections", "on", "off", "both")
}

// complete completes a flag of the command.
func complete(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the command has no such flag
	}
}

func (f *labFlags) options() (impact.Options, error) {
	o := impact.Options{Concurrency: f.concurrency, Limits: f.limits, Shadows: f.shadows, Loads: f.loads}
	for _, p := range f.protocols {
		o.Protocols = append(o.Protocols, impact.Protocol(p))
	}
	switch f.protections {
	case "on", "": // the soak has no plain policy
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
		return o, failure{err}
	}
	program, err := os.Executable()
	if err != nil {
		return o, failure{err}
	}
	o.Worker = []string{program, "shadow"}
	return o, o.Validate()
}

func (f *labFlags) note(cmd *cobra.Command, format string, args ...any) {
	if !f.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
	}
}

// finish writes and prints what there is, also after an error.
func (f *labFlags) finish(cmd *cobra.Command, results *impact.Results, err error) error {
	if results == nil {
		return failure{err}
	}
	if f.results != "" {
		err = errors.Join(err, saveResults(f.results, results))
	}
	err = errors.Join(err, f.print(cmd.OutOrStdout(), results))
	if err != nil {
		return failure{err}
	}
	if problems := results.AllProblems(impact.Lenient); len(problems) > 0 {
		return failure{errors.New("the primary noticed:\n  " + strings.Join(problems, "\n  "))}
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

func listOf[T any](all []T, line func(T) (name, about string)) string {
	var out strings.Builder
	for _, t := range all {
		name, about := line(t)
		fmt.Fprintf(&out, "  %-15s %s\n", name, about)
	}
	return out.String()
}
