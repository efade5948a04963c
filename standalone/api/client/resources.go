package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
)

// Kinds are those that a host serves, in the order in which they can be
// applied: a Mesh before what is in it.
func Kinds() []api.Kind {
	return []api.Kind{api.KindMesh, api.KindDataplane, api.KindExternalService, api.KindTrafficRoute}
}

// Collection is the part of the API's paths that stands for a kind.
func Collection(kind api.Kind) string {
	switch kind {
	case api.KindMesh:
		return "meshes"
	case api.KindDataplane:
		return "dataplanes"
	case api.KindExternalService:
		return "external-services"
	case api.KindTrafficRoute:
		return "traffic-routes"
	default:
		return ""
	}
}

// Item is a resource that a host has in use.
type Item struct {
	*api.Resource
	// File that the host has it from; empty when it was written over the API,
	// and for the Mesh "default" where nobody wrote one.
	File string
}

// path of a collection; mesh "" is all meshes.
func path(kind api.Kind, mesh string) string {
	if kind == api.KindMesh || mesh == "" {
		return "/" + Collection(kind)
	}
	return "/meshes/" + url.PathEscape(mesh) + "/" + Collection(kind)
}

func pathOf(key api.Key) string {
	return path(key.Kind, key.Mesh) + "/" + url.PathEscape(key.Name)
}

// fileHeader names the file of a resource, escaped as in a URL.
const fileHeader = "Kuma-Mirror-File"

// Get returns a resource. IsNotFound tells the error where there is none.
func (c *Client) Get(ctx context.Context, key api.Key) (Item, error) {
	var raw json.RawMessage
	header, err := c.doJSON(ctx, request{method: http.MethodGet, path: pathOf(key)}, &raw)
	if err != nil {
		return Item{}, err
	}
	resource, err := c.resource(raw)
	if err != nil {
		return Item{}, err
	}
	file, err := url.PathUnescape(header.Get(fileHeader))
	if err != nil {
		return Item{}, fmt.Errorf("%s: the header %s cannot be read: %w", c.Address(), fileHeader, err)
	}
	return Item{Resource: resource, File: file}, nil
}

// pageSize is how many resources are asked for at once.
const pageSize = 500

// List returns all resources of a kind, ordered by mesh and name; those of all
// meshes where mesh is "".
func (c *Client) List(ctx context.Context, kind api.Kind, mesh string) ([]Item, error) {
	var items []Item
	query := url.Values{"size": {strconv.Itoa(pageSize)}}
	for {
		var page struct {
			Items []json.RawMessage `json:"items"`
			Next  *string           `json:"next"`
			// Files are by MESH/NAME, and only of resources that come from any.
			Files map[string]string `json:"files"`
		}
		if err := c.GetJSON(ctx, path(kind, mesh), query, &page); err != nil {
			return nil, err
		}
		for _, raw := range page.Items {
			resource, err := c.resource(raw)
			if err != nil {
				return nil, err
			}
			items = append(items, Item{Resource: resource, File: page.Files[resource.Meta.Mesh+"/"+resource.Meta.Name]})
		}
		if more, err := c.turn(query, path(kind, mesh), page.Next); err != nil {
			return nil, err
		} else if !more {
			return items, nil
		}
	}
}

// turn makes query that of the page that next links to; false where there is
// none.
func (c *Client) turn(query url.Values, path string, next *string) (more bool, err error) {
	if next == nil || *next == "" {
		return false, nil
	}
	// Of the address only the offset counts: the host may be known by
	// another name here than it calls itself.
	link, err := url.Parse(*next)
	if err != nil || link.Query().Get("offset") == "" || link.Query().Get("offset") == query.Get("offset") {
		return false, fmt.Errorf("%s: the answer has a next page %q that cannot be followed", c.url(path, query), *next)
	}
	query.Set("offset", link.Query().Get("offset"))
	return true, nil
}

func (c *Client) resource(raw json.RawMessage) (*api.Resource, error) {
	resources, err := api.Parse(c.Address(), raw)
	if err != nil {
		return nil, fmt.Errorf("the answer is not what this version of kuma-mirror understands: %w", err)
	}
	if len(resources) != 1 {
		return nil, fmt.Errorf("%s: the answer holds %d resources instead of one", c.Address(), len(resources))
	}
	resources[0].Source = "" // the address says nothing of it
	return resources[0], nil
}

// Apply puts resources, all or, where one cannot be, none. It says what became of
// each.
func (c *Client) Apply(ctx context.Context, resources []*api.Resource) ([]plan.Resource, error) {
	var results []plan.Resource
	err := c.change(ctx, "/apply", nil, resources, &results)
	return results, err
}

// Delete deletes resources, as Apply puts them.
func (c *Client) Delete(ctx context.Context, keys []api.Key) ([]plan.Resource, error) {
	var results []plan.Resource
	err := c.change(ctx, "/apply", deleteBody(), named(keys), &results)
	return results, err
}

// PlanApply says what Apply would do. It changes nothing.
func (c *Client) PlanApply(ctx context.Context, resources []*api.Resource) (*plan.Plan, error) {
	p := &plan.Plan{}
	if err := c.change(ctx, "/plan", nil, resources, p); err != nil {
		return nil, err
	}
	return p, nil
}

// PlanDelete says what Delete would do. It changes nothing.
func (c *Client) PlanDelete(ctx context.Context, keys []api.Key) (*plan.Plan, error) {
	p := &plan.Plan{}
	if err := c.change(ctx, "/plan", deleteBody(), named(keys), p); err != nil {
		return nil, err
	}
	return p, nil
}

// deleteBody has a host delete what the body names. A URL would be too short for
// many names.
func deleteBody() url.Values { return url.Values{"delete": {"body"}} }

// named are resources of these keys with nothing in them.
func named(keys []api.Key) []*api.Resource {
	all := make([]*api.Resource, len(keys))
	for i, key := range keys {
		all[i] = &api.Resource{Kind: key.Kind, Meta: api.Meta{Mesh: key.Mesh, Name: key.Name}, Spec: &api.Mesh{}}
	}
	return all
}

func (c *Client) change(ctx context.Context, path string, query url.Values, resources []*api.Resource, into any) error {
	body, err := api.MarshalYAML(resources...)
	if err != nil {
		return err
	}
	if len(body) > api.MaxInputBytes {
		return fmt.Errorf("what there is to send is %d bytes long; a host takes at most %d (4 MiB) at once: send it in parts",
			len(body), api.MaxInputBytes)
	}
	_, err = c.doJSON(ctx, request{
		method:      http.MethodPost,
		path:        path,
		query:       query,
		contentType: "application/yaml",
		body:        body,
	}, into)
	if e := (*Error)(nil); errors.As(err, &e) {
		e.locate(resources)
	}
	return err
}
