package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/kuma-mirror/kuma-mirror/standalone/api/status"
)

// Mirrors returns how the mirrors of a mesh do; those of all meshes where mesh is
// "".
func (c *Client) Mirrors(ctx context.Context, mesh string) ([]status.Mirror, error) {
	path := "/mirrors"
	if mesh != "" {
		path = "/meshes/" + url.PathEscape(mesh) + path
	}
	return c.mirrors(ctx, path)
}

// InspectMirrors returns the mirrors of one data plane, with what Envoy is given
// for them.
func (c *Client) InspectMirrors(ctx context.Context, mesh, dataplane string) ([]status.Mirror, error) {
	return c.mirrors(ctx, "/meshes/"+url.PathEscape(mesh)+"/dataplanes/"+url.PathEscape(dataplane)+"/mirrors")
}

func (c *Client) mirrors(ctx context.Context, path string) ([]status.Mirror, error) {
	all := []status.Mirror{}
	query := url.Values{"size": {strconv.Itoa(pageSize)}}
	for {
		var page struct {
			Items []status.Mirror `json:"items"`
			Next  *string         `json:"next"`
		}
		if err := c.GetJSON(ctx, path, query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if more, err := c.turn(query, path, page.Next); err != nil {
			return nil, err
		} else if !more {
			return all, nil
		}
	}
}
