package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

func newStatusCommand() *cobra.Command {
	var (
		flags     clientFlags
		allMeshes bool
		dataplane string
		watch     bool
		check     bool
		interval  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how mirrors do: whether they copy, how much, and what is dropped",
		Long: `Status shows each mirror on each data plane: what it copies from and where to, how
many per cent it should copy and how many it does, copies a second, what was
dropped and why, and how the shadow answers beside the primary. Where a mirror
copies nothing, it says why.

Below that it lists what is not in use as it is written: files that are bad,
resources of the store that are not valid, data planes whose configuration is
refused. What they were before is in use.

--check is for scripts: it fails where a mirror should copy and does not, and where
something is not in use as it is written.

The figures are Envoy's own, of the last minute, or of the time since the mirror
was changed. Envoys send them every two seconds. docs/status.md explains them.

Exit codes:
  0  shown; with --watch, ended by SIGINT or SIGTERM
  1  the host does not answer, or there is no such mesh or data plane; with --check:
     a mirror that is not at 0 % is not active, or something is not in use as it is
     written
  2  the command line is wrong`,
		Example: `  kuma-mirror status
  kuma-mirror status --watch
  kuma-mirror status -A -o json
  kuma-mirror status -A --check
  kuma-mirror status -m shop --dataplane till`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < 100*time.Millisecond {
				return fmt.Errorf("--interval %s has to be 100ms or more", interval)
			}
			if cmd.Flags().Changed("interval") && !watch {
				return errors.New("--interval is for --watch alone")
			}
			c, err := flags.client()
			if err != nil {
				return err
			}
			v := statusView{
				client: c, out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr(),
				mesh: flags.mesh, dataplane: dataplane, format: flags.output, allMeshes: allMeshes,
			}
			if allMeshes {
				v.mesh = ""
			}
			if watch {
				err = v.watch(cmd.Context(), interval)
			} else {
				err = v.show(cmd.Context(), check)
			}
			return finish(err, func() error { return nil })
		},
	}
	flags.add(cmd)
	flags.addOutput(cmd)
	flags.addMesh(cmd, "mesh of the mirrors")
	cmd.Flags().BoolVarP(&allMeshes, "all-meshes", "A", false, "those of all meshes")
	cmd.Flags().StringVar(&dataplane, "dataplane", "", "those of one data plane")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show them again and again")
	cmd.Flags().BoolVar(&check, "check", false, "fail where a mirror should copy and does not, or something is not in use as written")
	cmd.MarkFlagsMutuallyExclusive("check", "watch")
	cmd.Flags().DurationVar(&interval, "interval", 2*time.Second, "how often, with --watch")
	cmd.MarkFlagsMutuallyExclusive("mesh", "all-meshes")
	return cmd
}

// statusView shows mirrors.
type statusView struct {
	client          *client.Client
	out, errs       io.Writer
	mesh, dataplane string
	format          string
	allMeshes       bool
}

// watch shows the mirrors until ctx ends. A host that does not answer ends it at
// first; later on it may come back.
func (v *statusView) watch(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for first := true; ; first = false {
		err := v.again(ctx, first)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && first {
			return err
		}
		if err != nil {
			_, _ = fmt.Fprintf(v.errs, "%s: %s; trying again\n", time.Now().Format(time.TimeOnly), err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// again shows the mirrors in place of what was shown before, on a terminal, or
// after it.
func (v *statusView) again(ctx context.Context, first bool) error {
	mirrors, stale, err := v.read(ctx)
	if err != nil {
		return err
	}
	switch {
	case v.format == "yaml" && !first:
		_, err = fmt.Fprintln(v.out, "---")
	case v.format == "table" && isTerminal(v.out):
		_, err = fmt.Fprint(v.out, "\x1b[H\x1b[2J") // to the top, and clear
	case v.format == "table" && !first:
		_, err = fmt.Fprintln(v.out)
	}
	if err != nil {
		return err
	}
	return v.write(mirrors, stale)
}

// show shows the mirrors; check has it fail where something is not as it is written.
func (v *statusView) show(ctx context.Context, check bool) error {
	mirrors, stale, err := v.read(ctx)
	if err != nil {
		return err
	}
	if err := v.write(mirrors, stale); err != nil || !check {
		return err
	}
	idle := 0
	for i := range mirrors {
		if s := mirrors[i].State; s != status.Active && s != status.Off {
			idle++
		}
	}
	var wrong []string
	if idle > 0 {
		wrong = append(wrong, fmt.Sprintf("%s should copy and do not", count(idle, "mirror")))
	}
	if len(stale) > 0 {
		wrong = append(wrong, fmt.Sprintf("not in use as written: %d of files, resources and data planes", len(stale)))
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// read returns the mirrors, and what is stale: files, and of what belongs to a mesh
// or a data plane that which is asked for.
func (v *statusView) read(ctx context.Context) ([]status.Mirror, []status.Stale, error) {
	mirrors, err := v.mirrors(ctx)
	if err != nil {
		return nil, nil, err
	}
	stale, err := v.client.Stale(ctx)
	return mirrors, slices.DeleteFunc(stale, func(s status.Stale) bool {
		return s.Mesh != "" && v.mesh != "" && s.Mesh != v.mesh ||
			s.Kind == status.StaleDataplane && v.dataplane != "" && s.Name != v.dataplane
	}), err
}

func (v *statusView) mirrors(ctx context.Context) ([]status.Mirror, error) {
	mirrors, err := v.client.Mirrors(ctx, v.mesh)
	if client.IsNotFound(err) {
		return nil, fmt.Errorf("there is no mesh %q", v.mesh)
	}
	if err != nil || v.dataplane == "" {
		return mirrors, err
	}
	known := map[string]bool{}
	mirrors = slices.DeleteFunc(mirrors, func(m status.Mirror) bool {
		if m.Dataplane != "" {
			known[m.Dataplane] = true
		}
		return m.Dataplane != v.dataplane
	})
	if len(mirrors) > 0 {
		return mirrors, nil
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("data plane %q has no mirrors, nor has any other", v.dataplane)
	}
	return nil, fmt.Errorf("data plane %q has no mirrors; these have: %s", v.dataplane, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
}

// mirrorList is what -o json and -o yaml print: what the API answers at /mirrors,
// and at /stale.
type mirrorList struct {
	Total int             `json:"total"`
	Items []status.Mirror `json:"items"`
	// Stale is what is not in use as it is written.
	Stale []status.Stale `json:"stale"`
}

func (v *statusView) write(mirrors []status.Mirror, stale []status.Stale) error {
	if v.format != "table" {
		return writeData(v.out, v.format, mirrorList{Total: len(mirrors), Items: mirrors, Stale: stale})
	}
	if len(mirrors) == 0 {
		where := fmt.Sprintf("in mesh %q", v.mesh)
		if v.allMeshes {
			where = "in any mesh"
		}
		if _, err := fmt.Fprintf(v.errs, "There are no mirrors %s.\n", where); err != nil {
			return err
		}
	} else if err := writeMirrors(v.out, mirrors, v.allMeshes, time.Now()); err != nil {
		return err
	}
	paint, out := painter(v.out), &printer{w: v.out}
	for _, s := range stale {
		for _, problem := range s.Problems {
			out.printf("%s is not in use as written: %s\n", paint(red, string(s.Kind)+" "+s.Name), problem)
		}
	}
	return out.err
}

// writeMirrors prints the table, and below it what does not fit in.
func writeMirrors(w io.Writer, mirrors []status.Mirror, withMesh bool, now time.Time) error {
	rows := [][]string{{
		"DATAPLANE", "POLICY", "MIRROR", "MATCH", "SHADOW", "STATE", "SINCE",
		"PERCENT", "EFFECTIVE", "COPIES/S", "DROPPED", "P50/P99 MS (PRIMARY)", "ERRORS (PRIMARY)",
	}}
	for i := range mirrors {
		rows = append(rows, mirrorRow(&mirrors[i], now))
	}
	if withMesh {
		for i := range rows {
			mesh := "MESH"
			if i > 0 {
				mesh = mirrors[i-1].Mesh
			}
			rows[i] = append([]string{mesh}, rows[i]...)
		}
	}
	paint := painter(w)
	out := &printer{w: w}
	for i, line := range aligned(rows) {
		if i > 0 {
			// Once there is colour in them, columns cannot be aligned.
			state := string(mirrors[i-1].State)
			line = strings.Replace(line, "  "+state+" ", "  "+paint(stateColour(mirrors[i-1].State), state)+" ", 1)
		}
		out.printf("%s", line)
	}
	out.printf("\n")
	states := map[status.State]int{}
	for i := range mirrors {
		m := &mirrors[i]
		states[m.State]++
		for _, remark := range remarks(m) {
			out.printf("%s: %s\n", paint(stateColour(m.State), mirrorName(m)), remark)
		}
	}
	var sums []string
	for _, state := range status.States() {
		if n := states[state]; n > 0 {
			sums = append(sums, fmt.Sprintf("%d %s", n, state))
		}
	}
	out.printf("%s: %s\n", count(len(mirrors), "mirror"), strings.Join(sums, ", "))
	return out.err
}

// mirrorName tells a mirror from the others of the table.
func mirrorName(m *status.Mirror) string {
	name := m.Policy + " " + shortPath(m.Path)
	if m.Dataplane != "" {
		name = m.Dataplane + " " + name
	}
	return name
}

// remarks are what there is to say of a mirror in words.
func remarks(m *status.Mirror) []string {
	var all []string
	if m.Reason != "" && m.State != status.Off { // of which the table says it all
		all = append(all, m.Reason)
	}
	if m.Note != "" {
		all = append(all, m.Note)
	}
	if len(m.SharedWith) > 0 && m.Window != nil {
		all = append(all, "Envoy counts its copies together with those of "+strings.Join(m.SharedWith, " and of ")+
			"; ~ marks the share it should have of them")
	}
	return all
}

func mirrorRow(m *status.Mirror, now time.Time) []string {
	shadow := destinationText(m.Shadow.Tags)
	if m.Shadow.Name != "" {
		shadow += " as " + m.Shadow.Name
	}
	row := []string{
		orDash(m.Dataplane), m.Policy, shortPath(m.Path), clipped(m.Match, 40), shadow, string(m.State), age(m.Since, now), percent(m.Percentage),
	}
	w := m.Window
	if w == nil {
		return append(row, "-", "-", "-", "-", "-")
	}
	about := ""
	if len(m.SharedWith) > 0 {
		about = "~"
	}
	effective := "-"
	if w.EffectivePercentage != nil {
		effective = about + percent(rounded(*w.EffectivePercentage))
	}
	return append(row, effective, about+number(w.CopiesPerSecond), droppedText(w.Dropped, about),
		beside(latencyText(w.ShadowLatency), latencyText(w.PrimaryLatency)),
		beside(rate(w.ShadowErrorRate), rate(w.PrimaryErrorRate)))
}

// shortPath leaves out what all paths have.
func shortPath(path string) string { return strings.TrimPrefix(path, "conf.") }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clipped is the beginning of a long text.
func clipped(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

func droppedText(d status.Dropped, about string) string {
	var parts []string
	for _, reason := range []struct {
		n    float64
		what string
	}{
		{d.Concurrency, "concurrency"}, {d.Body, "body"}, {d.Duration, "duration"},
		{d.NoHealthyEndpoint, "no endpoint"}, {d.ConnectionFailure, "connection"},
	} {
		if reason.n > 0 {
			parts = append(parts, about+number(reason.n)+" "+reason.what)
		}
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, ", ")
}

// latencyText is the median and the 99th percentile.
func latencyText(l *status.Latency) string {
	if l == nil {
		return "-"
	}
	return number(l.P50) + "/" + number(l.P99)
}

func rate(share *float64) string {
	if share == nil {
		return "-"
	}
	return percent(rounded(100 * *share))
}

// beside sets what is the shadow's beside what is the primary's.
func beside(shadow, primary string) string {
	if shadow == "-" && primary == "-" {
		return "-"
	}
	return shadow + " (" + primary + ")"
}

// number has three digits or so.
func number(f float64) string { return strconv.FormatFloat(rounded(f), 'f', -1, 64) }

// rounded keeps as many decimals as matter: one, or two below 10.
func rounded(f float64) float64 {
	decimals := 1
	switch {
	case f >= 1000:
		decimals = 0
	case f < 10:
		decimals = 2
	}
	r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', decimals, 64), 64)
	return r
}

func stateColour(s status.State) string {
	switch s {
	case status.Active:
		return green
	case status.Off, status.PendingACK:
		return yellow
	default:
		return red
	}
}
