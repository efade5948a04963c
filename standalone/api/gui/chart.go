package gui

import (
	"fmt"
	"strings"
)

// Size of a chart's drawing, in its own units.
const (
	chartWidth  = 480
	chartHeight = 120
)

// chart is one drawing of the last hour.
type chart struct {
	Title, Unit string
	// Top is the value at the upper edge.
	Top   string
	Lines []line
}

// line is one figure over time.
type line struct {
	Label string
	// Class is that of the style sheet: primary, or shadow, which is dashed.
	Class string
	// Path is SVG's; it has gaps where nothing is known.
	Path string
	// Last is the newest value.
	Last string
}

// charts draws all of a mirror.
func charts(history []point) []chart {
	type figure struct {
		label, class string
		of           func(point) float32
	}
	draw := func(title, unit string, least float32, figures ...figure) chart {
		top := least
		for _, p := range history {
			for _, f := range figures {
				top = max(top, f.of(p))
			}
		}
		c := chart{Title: title, Unit: unit, Top: number(float64(top))}
		for _, f := range figures {
			var path strings.Builder
			l := line{Label: f.label, Class: f.class, Last: "–"}
			pen := "M"
			for i, p := range history {
				if !p.known {
					pen = "M"
					continue
				}
				v := f.of(p)
				x := float32(i) * chartWidth / float32(points-1)
				// A point alone is a line to itself, which its round end shows.
				fmt.Fprintf(&path, "%s%.1f %.1f", pen, x, chartHeight-v/top*chartHeight)
				if pen == "M" {
					path.WriteString("h0")
				}
				pen, l.Last = "L", number(float64(v))
			}
			l.Path = path.String()
			c.Lines = append(c.Lines, l)
		}
		return c
	}
	return []chart{
		draw("Effective percentage", "%", 100, figure{"copied", "shadow", func(p point) float32 { return p.effective }}),
		draw("Per second", "/s", 1,
			figure{"requests", "primary", func(p point) float32 { return p.requests }},
			figure{"copies", "shadow", func(p point) float32 { return p.copies }},
			figure{"dropped", "drop", func(p point) float32 { return p.drops }}),
		draw("Errors", "%", 1,
			figure{"primary", "primary", func(p point) float32 { return p.primaryErrors }},
			figure{"shadow", "shadow", func(p point) float32 { return p.shadowErrors }}),
		draw("Latency, p99", "ms", 1,
			figure{"primary", "primary", func(p point) float32 { return p.primary }},
			figure{"shadow", "shadow", func(p point) float32 { return p.shadow }}),
	}
}
