package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/plugin"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
)

// dryRunFlags are those of commands that can say what they would do.
type dryRunFlags struct {
	on   bool
	diff bool

	given func(flag string) bool
}

func (f *dryRunFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.on, "dry-run", false, "change nothing, and show what would change for which data plane")
	cmd.Flags().BoolVar(&f.diff, "diff", true, "with --dry-run, show the diff of Envoy's configuration, too")
	f.given = cmd.Flags().Changed
}

func (f *dryRunFlags) check() error {
	if f.given("diff") && !f.on {
		return errors.New("--diff is only for --dry-run")
	}
	return nil
}

// write prints a plan.
func (f *dryRunFlags) write(w io.Writer, format string, p *plan.Plan) error {
	if format != "table" {
		if !f.diff {
			p.Diffs = map[string]string{}
			for _, d := range p.Dataplanes {
				for i := range d.Changes {
					d.Changes[i].Diff = ""
				}
			}
		}
		return writeData(w, format, p)
	}
	out := &printer{w: w}
	for _, r := range p.Resources {
		out.printf("%s (dry run)\n", resultLine(w, r))
	}
	out.printf("\n")
	var shown map[string]bool
	if f.diff {
		shown = map[string]bool{}
	}
	for _, g := range groupsOf(p) {
		g.print(out, painter(w), p.Diffs, shown)
	}
	var warnings []finding
	for _, v := range p.Warnings {
		warnings = append(warnings, finding{Object: v.Object, Path: v.Path, Message: v.Message})
	}
	out.section(painter(w)(yellow, "Warnings"), warnings)
	switch n := len(p.Dataplanes); n {
	case 0:
		out.printf("No data plane's Envoy would get another configuration.\n")
	default:
		out.printf("%s would get another configuration; nothing has been changed.\n", count(n, "data plane"))
	}
	return out.err
}

// group is data planes for which the same would happen.
type group struct {
	names []string
	plan.Dataplane
}

// groupsOf keeps the order of the data planes, each at the first of its group.
func groupsOf(p *plan.Plan) []*group {
	var groups []*group
	byContent := map[string]*group{}
	for _, d := range p.Dataplanes {
		content := fmt.Sprint(d.Change, d.Error, d.Changes)
		for _, m := range d.Mirrors {
			content += fmt.Sprint(m.Listener, m.Policy, m.Path, m.Before, m.After)
		}
		g := byContent[content]
		if g == nil {
			g = &group{Dataplane: d}
			byContent[content] = g
			groups = append(groups, g)
		}
		g.names = append(g.names, fmt.Sprintf("%q in mesh %q", d.Name, d.Mesh))
	}
	return groups
}

// maxNames is how many data planes of a group are named.
const maxNames = 5

func (g *group) title() string {
	names, more := g.names, ""
	if len(names) > maxNames {
		more = fmt.Sprintf(" and %d more", len(names)-maxNames)
		names = names[:maxNames]
	}
	what, is, goes := "Data plane ", "is", "goes"
	if len(g.names) > 1 {
		what, is, goes = fmt.Sprintf("%d data planes alike: ", len(g.names)), "are", "go"
	}
	title := what + strings.Join(names, ", ") + more
	switch g.Change {
	case plan.Added:
		title += fmt.Sprintf(", which %s new", is)
	case plan.Removed:
		title += ", which " + goes
	}
	return title
}

// print prints what would happen, and each diff that is not shown yet; a nil
// shown stands for no diffs.
func (g *group) print(out *printer, paint func(colour, text string) string, diffs map[string]string, shown map[string]bool) {
	out.printf("%s\n", g.title())
	switch {
	case g.Error != "":
		out.printf("  %s its Envoy would keep what it has: %s\n", paint(red, "error"), g.Error)
	case g.Change != plan.Changed:
		out.printf("  %s\n", countChanges(g.Changes))
	}
	var rows [][]string
	if g.Change == plan.Changed {
		for _, c := range g.Changes {
			rows = append(rows, []string{string(c.Change), string(c.Type), c.Name})
		}
	}
	for _, line := range aligned(rows) {
		verb, rest, _ := strings.Cut(line, " ")
		out.printf("  %s %s", paint(verbColours[plan.Verb(verb)], verb), rest)
	}
	rows = nil
	for _, m := range g.Mirrors {
		rows = append(rows, []string{fmt.Sprintf("TrafficRoute %q", m.Policy), m.Path, m.Listener, mirrorChange(m)})
	}
	if len(rows) > 0 {
		out.printf("  mirrors\n")
	}
	for _, line := range aligned(rows) {
		out.printf("    %s", line)
	}
	out.printf("\n")
	if shown == nil {
		return
	}
	for _, c := range g.Changes {
		if text, ok := diffs[c.Diff]; ok && !shown[c.Diff] {
			shown[c.Diff] = true
			printDiff(out, paint, text)
		}
	}
}

var verbColours = map[plan.Verb]string{plan.Added: green, plan.Removed: red, plan.Changed: yellow}

// mirrorChange says in a few words what becomes of a mirror.
func mirrorChange(m plan.Mirror) string {
	if m.Before != nil && m.After != nil && m.Before.State == plugin.Injected && m.After.State == plugin.Injected &&
		m.Before.Destination.String() == m.After.Destination.String() && m.Before.Percentage != m.After.Percentage {
		return fmt.Sprintf("%s -> %s", percent(m.Before.Percentage), mirrorText(m.After))
	}
	return fmt.Sprintf("%s -> %s", mirrorText(m.Before), mirrorText(m.After))
}

// mirrorText is the state of a mirror in a few words.
func mirrorText(s *plan.MirrorState) string {
	if s == nil {
		return "none"
	}
	text := fmt.Sprintf("%s to %s", percent(s.Percentage), s.Destination)
	switch {
	case s.State == plugin.Injected:
	case s.Reason != "":
		text += fmt.Sprintf(" (%s: %s)", s.State, s.Reason)
	default:
		text += fmt.Sprintf(" (%s)", s.State)
	}
	return text
}

func percent(p float64) string { return fmt.Sprintf("%g %%", p) }

// countChanges gives "2 listeners, 1 route, 2 clusters, endpoints of 1 cluster".
func countChanges(changes []plan.Change) string {
	numbers := map[plan.Type]int{}
	for _, c := range changes {
		numbers[c.Type]++
	}
	var parts []string
	for _, t := range []plan.Type{plan.Listener, plan.Route, plan.Cluster} {
		if n := numbers[t]; n > 0 {
			parts = append(parts, count(n, string(t)))
		}
	}
	if n := numbers[plan.Endpoints]; n > 0 {
		parts = append(parts, "endpoints of "+count(n, string(plan.Cluster)))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// aligned gives the rows as lines, each with its end, with their columns below
// each other.
func aligned(rows [][]string) []string {
	var out bytes.Buffer
	tab := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintln(tab, strings.Join(row, "\t"))
	}
	_ = tab.Flush() // into memory
	return slices.Collect(strings.Lines(out.String()))
}

const cyan = "36"

// printDiff prints a unified diff, in the colours that people know.
func printDiff(out *printer, paint func(colour, text string) string, text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "@@"):
			line = paint(cyan, line)
		case strings.HasPrefix(line, "+"):
			line = paint(green, line)
		case strings.HasPrefix(line, "-"):
			line = paint(red, line)
		}
		out.printf("%s\n", line)
	}
	out.printf("\n")
}
