package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Kind of a check.
type Kind string

// The two lists of the documentation.
const (
	TestCase     Kind = "test case"
	Verification Kind = "verification"
)

// Result is what became of one check.
type Result struct {
	Kind     Kind   `json:"kind"`
	Name     string `json:"name"`
	Expected string `json:"expected"`
	Seen     string `json:"seen"`
	Passed   bool   `json:"passed"`
	// Problem is empty where the check passed.
	Problem string `json:"problem,omitempty"`
}

func (r Result) row() [3]string { return [3]string{r.Name, r.Expected, r.Seen} }

// Report is what Check saw.
type Report struct {
	// Envoy is its version.
	Envoy   string  `json:"envoy"`
	Passed  bool    `json:"passed"`
	Seconds float64 `json:"seconds"`
	// ChanceOfFalseFailure bounds the probability that a demo in which all is
	// well fails: by bad luck in the sampling checks.
	ChanceOfFalseFailure float64  `json:"chanceOfFalseFailure"`
	Results              []Result `json:"results"`
}

func (r *Report) add(c check, seen string, err error) {
	result := Result{Kind: c.kind, Name: c.name, Expected: c.expected, Seen: seen, Passed: err == nil}
	if err != nil {
		result.Problem = err.Error()
	}
	r.Results = append(r.Results, result)
}

// Formats are the values Write takes.
func Formats() []string { return []string{"table", "json", "yaml"} }

// Write writes the report in one of Formats. color is for the table alone.
func (r *Report) Write(w io.Writer, format string, color bool) error {
	switch format {
	case "table":
		return r.table(w, style(color))
	case "json", "yaml":
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil && format == "yaml" {
			text, err = yaml.JSONToYAML(text)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, strings.TrimSuffix(string(text), "\n"))
		return err
	default:
		return fmt.Errorf("there is no format %q; use one of %s", format, strings.Join(Formats(), ", "))
	}
}

func (r *Report) table(w io.Writer, s style) error {
	head := func(kind Kind) [3]string {
		return [3]string{strings.ToUpper(string(kind)), "EXPECTED", "SEEN"}
	}
	var widths [3]int
	fit := func(row [3]string) {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, result := range r.Results {
		fit(head(result.Kind))
		fit(result.row())
	}

	var out strings.Builder
	line := func(row [3]string, last string) {
		for i, cell := range row {
			fmt.Fprintf(&out, "%-*s  ", widths[i], cell)
		}
		out.WriteString(last + "\n")
	}
	passed, last := 0, Kind("")
	for _, result := range r.Results {
		if result.Kind != last {
			if last != "" {
				out.WriteString("\n")
			}
			last = result.Kind
			line(head(last), "RESULT")
		}
		if result.Passed {
			passed++
			line(result.row(), s.green("passed"))
			continue
		}
		line(result.row(), s.red("FAILED"))
		out.WriteString(s.red("  "+strings.ReplaceAll(result.Problem, "\n", "\n  ")) + "\n")
	}
	verdict := fmt.Sprintf("%d of %d passed", passed, len(r.Results))
	if r.Passed {
		verdict = s.green(verdict)
	} else {
		verdict = s.red(verdict)
	}
	took := time.Duration(r.Seconds * float64(time.Second)).Round(100 * time.Millisecond)
	fmt.Fprintf(&out, "\n%s in %s with Envoy %s.\n", verdict, took, r.Envoy)
	fmt.Fprintf(&out, "50 %% is drawn at random: by bad luck alone a run fails with a probability of %.1g.\n", r.ChanceOfFalseFailure)
	_, err := io.WriteString(w, out.String())
	return err
}
