package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

func (f *labFlags) print(w io.Writer, results *impact.Results) error {
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
	for _, s := range results.LeftOut {
		fmt.Fprintf(w, "Left out, since this system does not allow it: %s (%s)\n", s.Shadow, s.Reason)
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
	return fmt.Sprintf("%.2f s (× %s)", c.Upload.Mirrored, c.Upload.Estimate())
}

func answersText(c impact.Cell) string {
	switch a := c.Answers; {
	case a == nil:
		return ""
	case c.Hung:
		return "hung"
	case a.Healthy == nil:
		return fmt.Sprintf("%.1f ms (× %s)", a.Mirrored.P99, a.OverNone())
	default:
		return fmt.Sprintf("%.1f ms (× %s; healthy × %s)", a.Mirrored.P99, a.OverNone(), a.OverHealthy())
	}
}

func resumedText(c impact.Cell) string {
	if c.Resumed < 0 {
		return "never"
	}
	return fmt.Sprintf("%.1f s", c.Resumed)
}
