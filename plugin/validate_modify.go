package plugin

import (
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

func (c *checker) modify(at api.Path, modify *api.TrafficRoute_Http_Modify, match *api.TrafficRoute_Http_Match) {
	if p := modify.GetPath(); p != nil {
		c.modifyPath(at.Field("path"), p, match)
	}
	if h := modify.GetHost(); h != nil {
		c.modifyHost(at.Field("host"), h)
	}
	host := at.Field("host")
	c.headers(at.Field("requestHeaders"), modify.GetRequestHeaders(), host)
	c.mark(at.Field("requestHeaders"), modify.GetRequestHeaders(), false)
	c.headers(at.Field("responseHeaders"), modify.GetResponseHeaders(), host)
}

func (c *checker) modifyPath(at api.Path, p *api.TrafficRoute_Http_Modify_Path, match *api.TrafficRoute_Http_Match) {
	switch p.GetType().(type) {
	case *api.TrafficRoute_Http_Modify_Path_RewritePrefix:
		at := at.Field("rewritePrefix")
		c.startsWithSlash(at, p.GetRewritePrefix())
		if strings.ContainsFunc(p.GetRewritePrefix(), isControl) {
			c.add(at, "must not contain control characters")
		}
		if match.GetPath().GetPrefix() == "" {
			c.add(at, "needs match.path.prefix, which it replaces")
		}
	case *api.TrafficRoute_Http_Modify_Path_Regex:
		c.regexReplace(at.Field("regex"), p.GetRegex())
	default:
		c.add(at, `either "rewritePrefix" or "regex" is required`)
	}
}

func (c *checker) modifyHost(at api.Path, h *api.TrafficRoute_Http_Modify_Host) {
	switch h.GetType().(type) {
	case *api.TrafficRoute_Http_Modify_Host_Value:
		c.host(at.Field("value"), h.GetValue())
	case *api.TrafficRoute_Http_Modify_Host_FromPath:
		c.regexReplace(at.Field("fromPath"), h.GetFromPath())
	default:
		c.add(at, `either "value" or "fromPath" is required`)
	}
}
