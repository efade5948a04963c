package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

func newInspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Show what becomes of policies in Envoy",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("inspect needs what to inspect: mirrors")
		},
	}
	cmd.AddCommand(newInspectMirrorsCommand())
	return cmd
}

func newInspectMirrorsCommand() *cobra.Command {
	var flags clientFlags
	var dataplane string
	cmd := &cobra.Command{
		Use:   "mirrors --dataplane NAME",
		Short: "Show the mirrors of a data plane, and what Envoy is given for them",
		Long: `Mirrors shows, for each mirror of a data plane, which TrafficRoute it stands in,
which route of which route table it copies from, and which cluster the copies go
to, with the route, the cluster and its endpoints as Envoy is given them.

All of it is YAML: what is no configuration is in comments.

Exit codes:
  0  shown; also where the data plane has no mirrors
  1  there is no such data plane, or the host does not answer
  2  the command line is wrong`,
		Example: `  kuma-mirror inspect mirrors --dataplane web
  kuma-mirror inspect mirrors -m shop --dataplane till -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dataplane == "" {
				return errors.New("--dataplane is empty; it has to be the name of a Dataplane")
			}
			c, err := flags.client()
			if err != nil {
				return err
			}
			mirrors, err := c.InspectMirrors(cmd.Context(), flags.mesh, dataplane)
			if client.IsNotFound(err) {
				err = fmt.Errorf("there is no data plane %q in mesh %q", dataplane, flags.mesh)
			}
			return finish(err, func() error {
				if flags.output != "table" {
					return writeData(cmd.OutOrStdout(), flags.output, mirrorList{Total: len(mirrors), Items: mirrors})
				}
				if len(mirrors) == 0 {
					_, err := fmt.Fprintf(cmd.ErrOrStderr(), "Data plane %q has no mirrors.\n", dataplane)
					return err
				}
				return writeInspected(cmd.OutOrStdout(), mirrors, time.Now())
			})
		},
	}
	flags.add(cmd)
	flags.addOutput(cmd)
	flags.addMesh(cmd, "mesh of the data plane")
	cmd.Flags().StringVar(&dataplane, "dataplane", "", "name of the Dataplane")
	must(cmd.MarkFlagRequired("dataplane"))
	return cmd
}

// writeInspected prints a YAML document for each mirror.
func writeInspected(w io.Writer, mirrors []status.Mirror, now time.Time) error {
	out := &printer{w: w}
	for i := range mirrors {
		if i > 0 {
			out.printf("---\n")
		}
		m := &mirrors[i]
		shadow := destinationText(m.Shadow.Tags)
		if m.Shadow.Name != "" {
			shadow += " as " + m.Shadow.Name
		}
		out.comment("%s of TrafficRoute %q in mesh %q", m.Path, m.Policy, m.Mesh)
		out.comment("matches: %s", m.Match)
		out.comment("on the outbound to %s (%s)", m.Outbound, strings.Join(m.Listeners, ", "))
		out.comment("copies %s to %s", percent(m.Percentage), shadow)
		out.comment("%s for %s", m.State, age(m.Since, now))
		for _, remark := range remarks(m) {
			out.comment("%s", remark)
		}
		if m.Envoy == nil {
			out.comment("Envoy is given nothing for it")
			continue
		}
		out.comment("route %d of the route table %s, counted in %s.*", m.Envoy.Index+1, m.Envoy.RouteTable, m.Envoy.RouteStats)
		out.snippet("route", m.Envoy.Route)
		out.comment("counted in %s.*", m.Envoy.ClusterStats)
		out.snippet("cluster", m.Envoy.Cluster)
		if m.Envoy.Endpoints != nil {
			out.snippet("endpoints", m.Envoy.Endpoints)
		}
	}
	return out.err
}

// comment prints a YAML comment.
func (p *printer) comment(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		p.printf("# %s\n", strings.TrimRight(line, "\n"))
	}
}

// snippet prints a part of Envoy's configuration as YAML under a name.
func (p *printer) snippet(name string, value json.RawMessage) {
	if p.err != nil {
		return
	}
	text, err := yaml.Marshal(map[string]json.RawMessage{name: value})
	if err != nil {
		p.err = err
		return
	}
	p.printf("%s", text)
}
