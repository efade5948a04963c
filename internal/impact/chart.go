package impact

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"
)

// The chart's measures, in pixels.
const (
	rowHeight  = 30
	barHeight  = 10
	topMargin  = 96
	labelWidth = 350
	panelWidth = 280
	panelGap   = 90
)

// Colours that most people can tell apart.
const (
	plainColour = "#d55e00"
	ourColour   = "#0072b2"
)

// panel is one figure for all shadows, on a logarithmic axis.
type panel struct {
	title     string
	low, high float64 // ends of the axis
	ticks     []float64
	load      string
	value     func(summary) Estimate
}

func panels() []panel {
	return []panel{
		{
			title: "time of a 200 MB upload, × that without a mirror",
			low:   0.5, high: 10, ticks: []float64{0.5, 1, 2, 5},
			load: "upload", value: func(s summary) Estimate { return s.upload },
		},
		{
			title: "p99 of GETs at 500 a second, × that without a mirror",
			low:   0.5, high: 5000, ticks: []float64{1, 10, 100, 1000},
			load: "burst", value: func(s summary) Estimate { return s.burst },
		},
	}
}

// bar is how far a summary's bar goes, and what is written at its end; no text
// if there is no bar.
func (p panel) bar(s summary) (value float64, text string) {
	switch e := p.value(s); {
	case s.hangs(p.load):
		return math.Inf(1), "hangs"
	case e.Of == 0:
		return 0, ""
	default:
		return e.Median, "× " + number(e.Median)
	}
}

// Chart draws the cells as SVG: for each shadow the worst upload and the worst
// burst over both protocols, the plain policy beside this project's mirror.
func Chart(r *Results) []byte {
	var rows []Shadow
	for _, s := range Shadows() {
		if r.summary(s.Name, true).cells+r.summary(s.Name, false).cells > 0 {
			rows = append(rows, s)
		}
	}
	width := labelWidth + 2*(panelWidth+panelGap)
	height := topMargin + len(rows)*rowHeight + 56
	var out bytes.Buffer
	text := func(x, y float64, attributes, content string) {
		fmt.Fprintf(&out, "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, attributes, html.EscapeString(content))
	}
	rect := func(x, y, w, h float64, colour string) {
		fmt.Fprintf(&out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, w, h, colour)
	}
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" fill="#222">`+"\n",
		width, height, width, height)
	fmt.Fprintln(&out, "<title>What each bad shadow does to the primary</title>")
	rect(0, 0, float64(width), float64(height), "#fff")
	text(16, 28, `font-size="17" font-weight="bold"`, "What a bad shadow does to the primary")
	rect(16, 42, 12, 12, plainColour)
	text(34, 53, "", "plain mirror policy")
	rect(170, 42, 12, 12, ourColour)
	text(188, 53, "", "kuma-mirror, defaults")
	const small = `font-size="11" fill="#666"`
	text(16, float64(height)-30, small, fmt.Sprintf("Worst of HTTP/1.1 and HTTP/2 to the shadow. Envoy %s, 1 worker thread; %d CPUs, %s, shared with client, primary and shadow.",
		r.Envoy, r.Machine.CPUs, r.Machine.CPU))
	text(16, float64(height)-14, small, strings.ReplaceAll(r.origin(), "**", ""))

	for i, s := range rows {
		y := float64(topMargin + i*rowHeight)
		if i%2 == 0 {
			rect(0, y, float64(width), rowHeight, "#f5f5f5")
		}
		text(16, y+19, "", s.About)
	}
	for i, p := range panels() {
		left := float64(labelWidth + i*(panelWidth+panelGap))
		at := func(v float64) float64 {
			v = min(max(v, p.low), p.high)
			return left + panelWidth*math.Log(v/p.low)/math.Log(p.high/p.low)
		}
		text(left, topMargin-24, `font-weight="bold"`, p.title)
		for _, t := range p.ticks {
			fmt.Fprintf(&out, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#ccc\"/>\n", at(t), at(t), topMargin-4, height-52)
			text(at(t), topMargin-8, `font-size="11" fill="#666" text-anchor="middle"`, fmt.Sprint(t))
		}
		for row, s := range rows {
			for j, protections := range []bool{false, true} {
				value, label := p.bar(r.summary(s.Name, protections))
				if label == "" {
					continue
				}
				colour := plainColour
				if protections {
					colour = ourColour
				}
				y := float64(topMargin+row*rowHeight+4) + float64(j)*(barHeight+2)
				rect(left, y, max(1, at(value)-left), barHeight, colour)
				text(at(value)+5, y+9, `font-size="10"`, label)
			}
		}
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}
