package generator

import (
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/kuma-mirror/kuma-mirror/xds"
)

// OmitBody is the value of a mirror's `body` that sends copies without one.
const OmitBody = "omit"

const luaName = "envoy.filters.http.lua"

// emptyBody empties each piece of a body as it comes, so that nothing of it is
// held. What announces the body goes first; the buffer filter behind, which
// waits for the end of the request, writes the length of what is left: 0.
const emptyBody = `function envoy_on_request(handle)
  handle:headers():remove("content-length")
  handle:headers():remove("trailer")
  for piece in handle:bodyChunks() do
    piece:setBytes("")
  end
end
`

func (id Identity) omitsBodies() bool { return id.Options.GetBody() == OmitBody }

// omitBodies adds the filter that takes the bodies off copies. It has to stand
// before the buffer filter. A header mutation alone would leave the body on the
// wire, where the shadow takes it for the next request.
func (id Identity) omitBodies(options *upstream.HttpProtocolOptions) error {
	if !id.omitsBodies() {
		return nil
	}
	config, err := xds.MarshalAny(&lua.Lua{DefaultSourceCode: &core.DataSource{
		Specifier: &core.DataSource_InlineString{InlineString: emptyBody},
	}})
	if err != nil {
		return err
	}
	options.HttpFilters = append(options.HttpFilters,
		&hcm.HttpFilter{Name: luaName, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: config}})
	return nil
}
