package plugin

import (
	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/xds"
)

// mark refuses changes to the header that keeps copies from being copied. Only a
// mirror may take it off its copies.
func (c *checker) mark(at api.Path, headers *api.TrafficRoute_Http_Modify_Headers, mayRemove bool) {
	const only = "%q marks copies, so that no copy is copied; only requestHeaders.remove of a mirror may name it"
	for i, add := range headers.GetAdd() {
		if xds.IsMark(add.GetName()) {
			c.add(at.Field("add").Index(i).Field("name"), only, add.GetName())
		}
	}
	for i, remove := range headers.GetRemove() {
		if xds.IsMark(remove.GetName()) && !mayRemove {
			c.add(at.Field("remove").Index(i).Field("name"), only, remove.GetName())
		}
	}
}
