package operate_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/gomega"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const root = "../.."

// query is one of the dashboard or of an alert.
type query struct{ where, expr string }

// dashboard is what of a Grafana dashboard is looked at.
type dashboard struct {
	UID           string  `json:"uid"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Name string `json:"name"`
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
}

type panel struct {
	ID         int        `json:"id"`
	Type       string     `json:"type"`
	Title      string     `json:"title"`
	Datasource datasource `json:"datasource"`
	GridPos    struct{ H, W, X, Y int }
	Targets    []struct {
		Datasource   datasource `json:"datasource"`
		Expr         string     `json:"expr"`
		LegendFormat string     `json:"legendFormat"`
	} `json:"targets"`
}

type datasource struct {
	UID string `json:"uid"`
}

func readDashboard(g Gomega) dashboard {
	text, err := os.ReadFile(filepath.Join(root, "examples", "operate", "dashboard.json"))
	g.Expect(err).NotTo(HaveOccurred())
	var d dashboard
	g.Expect(json.Unmarshal(text, &d)).To(Succeed())
	return d
}

// labelValues is the query of a variable.
var labelValues = regexp.MustCompile(`^label_values\((.*), \w+\)$`)

func (d dashboard) queries() []query {
	var all []query
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			all = append(all, query{"panel " + p.Title, t.Expr})
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			all = append(all, query{"variable " + v.Name, labelValues.ReplaceAllString(v.Definition, "$1")})
		}
	}
	for _, a := range d.Annotations.List {
		all = append(all, query{"annotation " + a.Name, a.Expr})
	}
	return all
}

// rules is a file of rules, all of it.
type rules struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         model.Duration    `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readAlerts(g Gomega) []rule {
	file, err := os.Open(filepath.Join(root, "examples", "operate", "alerts.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = file.Close() }()
	var all rules
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	g.Expect(decoder.Decode(&all)).To(Succeed())
	g.Expect(all.Groups).To(HaveLen(1))
	return all.Groups[0].Rules
}

// selector is what a query asks for, with the labels it names.
type selector struct {
	name   string
	labels []string
}

// selectors parses a query as Prometheus does.
func selectors(expr string) ([]selector, error) {
	// What Grafana puts in.
	expr = strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m").Replace(expr)
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return nil, err
	}
	var all []selector
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		v, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		s := selector{name: v.Name}
		for _, m := range v.LabelMatchers {
			if m.Name != model.MetricNameLabel {
				s.labels = append(s.labels, m.Name)
			}
		}
		for _, around := range path {
			if a, ok := around.(*parser.AggregateExpr); ok {
				s.labels = append(s.labels, a.Grouping...)
			}
		}
		all = append(all, s)
		return nil
	})
	return all, nil
}
