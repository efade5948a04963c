package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/plugin/carrier"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

func newGetCommand() *cobra.Command {
	var flags clientFlags
	var allMeshes bool
	cmd := &cobra.Command{
		Use:   "get KIND [NAME]",
		Short: "Show resources that a host has in use",
		Long: `Get shows the resources of one kind, or one of them: traffic-routes (tr),
dataplanes (dp), external-services (es) and meshes (m), in the singular, too.

SOURCE is the host's file that a resource comes from, or "api" where it was
written over the API. What -o yaml and -o json print can be applied again.

Exit codes:
  0  shown; also where there are none
  1  there is none of that name, or the host does not answer
  2  the command line is wrong`,
		Example: `  kuma-mirror get traffic-routes
  kuma-mirror get dataplanes -A
  kuma-mirror get traffic-route web -m shop -o yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return errors.New("get needs a kind of resource: traffic-routes, dataplanes, external-services or meshes")
			case len(args) > 2:
				return fmt.Errorf("get takes a kind and at most one name, not %d arguments", len(args))
			case len(args) == 2 && allMeshes:
				return errors.New("a name is that of one mesh; leave out --all-meshes, and say which with --mesh")
			}
			return nil
		},
		ValidArgsFunction: flags.completeKindAndName(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := parseKind(args[0])
			if err != nil {
				return err
			}
			c, err := flags.client()
			if err != nil {
				return err
			}
			if len(args) == 2 {
				item, err := c.Get(cmd.Context(), keyOf(kind, flags.mesh, args[1]))
				if client.IsNotFound(err) {
					err = fmt.Errorf("there is no %s", keyOf(kind, flags.mesh, args[1]))
				}
				return finish(err, func() error {
					if flags.output != "table" {
						return writeResource(cmd.OutOrStdout(), flags.output, item.Resource)
					}
					return writeTable(cmd.OutOrStdout(), kind, []client.Item{item}, time.Now())
				})
			}
			in := flags.mesh
			if allMeshes {
				in = ""
			}
			items, err := c.List(cmd.Context(), kind, in)
			if client.IsNotFound(err) {
				err = fmt.Errorf("there is no %s", api.Key{Kind: api.KindMesh, Name: in})
			}
			return finish(err, func() error {
				switch {
				case flags.output != "table":
					return writeResources(cmd.OutOrStdout(), flags.output, resourcesOf(items))
				case len(items) == 0 && allMeshes:
					_, err := fmt.Fprintf(cmd.ErrOrStderr(), "There are no %s.\n", client.Collection(kind))
					return err
				case len(items) == 0:
					_, err := fmt.Fprintf(cmd.ErrOrStderr(), "There are no %s in mesh %q.\n", client.Collection(kind), in)
					return err
				}
				return writeTable(cmd.OutOrStdout(), kind, items, time.Now())
			})
		},
	}
	flags.add(cmd)
	flags.addOutput(cmd)
	flags.addMesh(cmd, "mesh of the resources")
	cmd.Flags().BoolVarP(&allMeshes, "all-meshes", "A", false, "those of all meshes")
	cmd.MarkFlagsMutuallyExclusive("mesh", "all-meshes")
	return cmd
}

// writeResources prints resources in a way that can be applied again: as YAML
// documents, or as one JSON document that is a list of them.
func writeResources(w io.Writer, format string, resources []*api.Resource) error {
	if format == "yaml" {
		out, err := api.MarshalYAML(resources...)
		if err == nil {
			_, err = w.Write(out)
		}
		return err
	}
	list := struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}{"v1", "List", []json.RawMessage{}}
	for _, r := range resources {
		item, err := api.EncodeJSON(r)
		if err != nil {
			return err
		}
		list.Items = append(list.Items, item)
	}
	return writeData(w, format, list)
}

// writeResource prints one resource, which can be applied again.
func writeResource(w io.Writer, format string, r *api.Resource) error {
	if format == "yaml" {
		return writeResources(w, format, []*api.Resource{r})
	}
	out, err := api.EncodeJSON(r)
	if err != nil {
		return err
	}
	return writeData(w, format, json.RawMessage(out))
}

// columns are those of a kind's table between NAME and AGE.
func columns(kind api.Kind) []string {
	switch kind {
	case api.KindTrafficRoute:
		return []string{"MIRRORS"}
	case api.KindDataplane:
		return []string{"ADDRESS", "SERVICES", "OUTBOUNDS"}
	case api.KindExternalService:
		return []string{"SERVICE", "ADDRESS", "TLS"}
	default:
		return nil
	}
}

// cells are a resource's, for the columns of its kind.
func cells(r *api.Resource) []string {
	switch spec := r.Spec.(type) {
	case *api.TrafficRoute:
		return []string{mirrorsText(r)}
	case *api.Dataplane:
		n := spec.GetNetworking()
		var services []string
		for _, tags := range mesh.SourceTags(n) {
			services = append(services, tags.Service())
		}
		return []string{n.GetAddress(), strings.Join(slices.Compact(services), ", "), fmt.Sprint(len(n.GetOutbound()))}
	case *api.ExternalService:
		tls := "no"
		if spec.GetNetworking().GetTls().GetEnabled() {
			tls = "yes"
		}
		return []string{api.Tags(spec.GetTags()).Service(), spec.GetNetworking().GetAddress(), tls}
	default:
		return nil
	}
}

// mirrorsText says how much of what goes where, for a table: "5 % to shadow".
func mirrorsText(r *api.Resource) string {
	// What is damaged in it, its author has been told.
	decoded, _ := carrier.DecodeResource(r)
	var mirrors []string
	for at, e := range decoded.Spec.(*api.TrafficRoute).Entries() {
		for _, m := range api.MirrorsOf(at, e) {
			text := fmt.Sprintf("%s to %s", percent(xds.Percentage(m)), destinationText(m.GetDestination()))
			if !slices.Contains(mirrors, text) {
				mirrors = append(mirrors, text)
			}
		}
	}
	if len(mirrors) == 0 {
		return "-"
	}
	return strings.Join(mirrors, "; ")
}

// destinationText is the service and, in brackets, the other tags.
func destinationText(destination map[string]string) string {
	tags := api.Tags{}
	for name, value := range destination {
		if name != api.ServiceTag {
			tags[name] = value
		}
	}
	service := destination[api.ServiceTag]
	if len(tags) == 0 {
		return service
	}
	return fmt.Sprintf("%s (%s)", service, tags)
}

func writeTable(w io.Writer, kind api.Kind, items []client.Item, now time.Time) error {
	header := slices.Concat([]string{"NAME"}, columns(kind), []string{"AGE", "SOURCE"})
	if kind != api.KindMesh {
		header = append([]string{"MESH"}, header...)
	}
	rows := [][]string{header}
	for _, i := range items {
		row := slices.Concat([]string{i.Meta.Name}, cells(i.Resource), []string{age(i.Meta.CreationTime, now), source(i)})
		if kind != api.KindMesh {
			row = append([]string{i.Meta.Mesh}, row...)
		}
		rows = append(rows, row)
	}
	for _, line := range aligned(rows) {
		if _, err := io.WriteString(w, line); err != nil {
			return err
		}
	}
	return nil
}

// source says where a resource comes from.
func source(i client.Item) string {
	switch {
	case i.File != "":
		return i.File
	case isStored(i):
		return "api"
	default:
		return "-"
	}
}

// isStored reports whether a resource was written over the API. Of those in no
// file only the Mesh "default" may not have been; then it has no times.
func isStored(i client.Item) bool { return i.File == "" && !i.Meta.ModificationTime.IsZero() }

func resourcesOf(items []client.Item) []*api.Resource {
	resources := make([]*api.Resource, len(items))
	for i, item := range items {
		resources[i] = item.Resource
	}
	return resources
}

// age is how long ago something was, in its largest unit: 12s, 5m, 3h, 40d.
func age(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	d := max(0, now.Sub(since))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}
