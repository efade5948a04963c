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
	return pages[status.Mirror](ctx, c, path)
}

// Stale returns what is not in use as it is written.
func (c *Client) Stale(ctx context.Context) ([]status.Stale, error) {
	return pages[status.Stale](ctx, c, "/stale")
}

// InspectMirrors returns the mirrors of one data plane, with what Envoy is given
// for them.
func (c *Client) InspectMirrors(ctx context.Context, mesh, dataplane string) ([]status.Mirror, error) {
	return pages[status.Mirror](ctx, c, "/meshes/"+url.PathEscape(mesh)+"/dataplanes/"+url.PathEscape(dataplane)+"/mirrors")
}

// pages returns the items of all pages of a list.
func pages[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	all := []T{}
	query := url.Values{"size": {strconv.Itoa(pageSize)}}
	for {
		var page struct {
			Items []T     `json:"items"`
			Next  *string `json:"next"`
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
