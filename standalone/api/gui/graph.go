package gui

import (
	"net/http"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

// maxEdges bounds the graph; a picture of more cannot be read.
const maxEdges = 60

// Layout of the graph, in its own units.
const (
	nodeWidth, nodeHeight = 240, 34
	columnWidth           = 360
	rowHeight             = 52
)

// node is a data plane, a service or a shadow.
type node struct {
	X, Y              int
	Name, Short, Kind string
}

// edge goes from the right side of one node to the left side of another.
type edge struct {
	X1, Y1, X2, Y2 int
	// Class is "request", or "copy" and how it does.
	Class string
	Label string
	// Link is the mirror's; nil for requests.
	Mirror *status.Mirror
}

// drawing of the graph.
type drawing struct {
	Width, Height int
	Nodes         []node
	Edges         []edge
	Shown, Total  int
}

func (g *GUI) graph(w http.ResponseWriter, r *http.Request) {
	all, err := g.Mirrors(r.Context(), "")
	if err != nil {
		g.fail(w, r, err)
		return
	}
	g.show(w, r, http.StatusOK, "graph", "Graph", draw(all))
}

// draw puts data planes, services and shadows in three columns.
func draw(all []status.Mirror) drawing {
	var d drawing
	var rows [3]int
	places := map[[3]string]int{}
	place := func(column int, kind, mesh, name string) int {
		k := [3]string{kind, mesh, name}
		i, ok := places[k]
		if !ok {
			i = len(d.Nodes)
			places[k] = i
			short := []rune(name)
			if len(short) > 32 {
				short = append(short[:31], '…')
			}
			d.Nodes = append(d.Nodes, node{X: 10 + column*columnWidth, Y: 10 + rows[column]*rowHeight, Name: name, Short: string(short), Kind: kind})
			rows[column]++
		}
		return i
	}
	connect := func(from, to int, e edge) {
		e.X1, e.Y1 = d.Nodes[from].X+nodeWidth, d.Nodes[from].Y+nodeHeight/2
		e.X2, e.Y2 = d.Nodes[to].X, d.Nodes[to].Y+nodeHeight/2
		d.Edges = append(d.Edges, e)
	}
	requests := map[[2]int]bool{}
	for _, m := range all {
		if m.Dataplane == "" {
			continue
		}
		if d.Total++; d.Shown == maxEdges {
			continue
		}
		d.Shown++
		dataplane := place(0, "data plane", m.Mesh, m.Dataplane)
		service := place(1, "service", m.Mesh, m.Outbound)
		shadow := place(2, "shadow", m.Mesh, shadowName(m))
		if pair := [2]int{dataplane, service}; !requests[pair] {
			requests[pair] = true
			connect(dataplane, service, edge{Class: "request"})
		}
		label := string(m.State)
		if m.State == status.Active && m.Window != nil {
			label = number(m.Window.CopiesPerSecond) + "/s"
		}
		connect(service, shadow, edge{Class: "copy " + bad(m.State), Label: label, Mirror: &m})
	}
	d.Width, d.Height = 2*columnWidth+nodeWidth+20, max(rows[0], rows[1], rows[2], 1)*rowHeight+10
	return d
}
