package generate_test

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

// object is a resource, or a part of one, as it is written in YAML.
type object = map[string]any

// recording is one case: what was applied to a stock Kuma 2.14.3 and what it
// then served, by resource name. Route tables are inline in Kuma's listeners.
type recording struct {
	input                                  []object
	listeners, routes, clusters, endpoints object
}

// difference is one thing that this host does differently on purpose.
type difference struct {
	name string
	// reason is for the users who compare.
	reason string
	// apply turns what Kuma was given or served into what this host is given
	// or serves.
	apply func(*recording)
}

// differences are all there are: whatever else differs fails the comparison, and
// so does one that is listed and never occurs.
var differences = []difference{
	{
		name: "no mTLS",
		reason: "Mesh.mtls is not known: there is no certificate authority here, and Envoy speaks to applications, " +
			"not to sidecars that could end the TLS",
		apply: func(r *recording) {
			for _, resource := range r.input {
				if resource["type"] == "Mesh" {
					delete(resource, "mtls")
				}
			}
			for _, l := range objects(r.listeners) {
				for _, chain := range list(l["filterChains"]) {
					delete(chain, "transportSocket")
				}
				for _, manager := range httpManagers(l) {
					manager["httpFilters"] = without(manager["httpFilters"], "envoy.filters.http.rbac")
				}
			}
			for _, c := range objects(r.clusters) {
				delete(c, "transportSocket")
			}
		},
	},
	{
		name: "no TrafficPermission",
		reason: "TrafficPermission is not known: without mTLS nobody can tell who calls. " +
			"ExternalServices can be called without one",
		apply: func(r *recording) {
			r.input = slices.DeleteFunc(r.input, func(o object) bool { return o["type"] == "TrafficPermission" })
		},
	},
	{
		name: "no policies of a new mesh",
		reason: "Timeouts, retries and circuit breakers of the policies that Kuma creates with a mesh are not known; " +
			"what holds is what Kuma does without them",
		apply: func(r *recording) {
			for name, l := range objects(r.listeners) {
				for _, manager := range httpManagers(l) {
					inbound := strings.HasPrefix(name, "inbound:")
					if !inbound {
						delete(manager, "requestHeadersTimeout")
					}
					for _, route := range routesOf(manager) {
						action := route["route"].(object)
						delete(action, "retryPolicy")
						if inbound {
							action["timeout"], action["idleTimeout"] = "15s", "1800s"
						} else {
							action["timeout"] = "0s"
							delete(action, "idleTimeout")
						}
					}
				}
			}
			for name, c := range objects(r.clusters) {
				c["circuitBreakers"] = object{"thresholds": []any{object{"trackRemaining": true}}}
				if strings.HasPrefix(name, "localhost:") {
					c["connectTimeout"] = "5s"
					httpOptionsOf(c)["commonHttpProtocolOptions"].(object)["idleTimeout"] = "3600s"
				}
			}
		},
	},
	{
		name: "no limits of primaries",
		reason: "without a policy Envoy's own limits hold in Kuma: 1024 connections, waiting requests and requests for each cluster, " +
			"and 503 beyond. An Envoy that was put in the path for a mirror is not what turns requests away",
		apply: func(r *recording) {
			for _, c := range objects(r.clusters) {
				for _, threshold := range list(c["circuitBreakers"].(object)["thresholds"]) {
					for _, limit := range []string{"maxConnections", "maxPendingRequests", "maxRequests"} {
						threshold[limit] = float64(math.MaxUint32)
					}
				}
			}
		},
	},
	{
		name:   "WebSockets",
		reason: "Kuma's listeners answer an upgrade to websocket with 403; applications that use it go on doing so here",
		apply: func(r *recording) {
			for _, l := range objects(r.listeners) {
				service := l["metadata"].(object)["filterMetadata"].(object)["io.kuma.tags"].(object)["kuma.io/service"].(string)
				for _, manager := range httpManagers(l) {
					if r.protocolOf(service) == "http" {
						manager["upgradeConfigs"] = []any{object{"upgradeType": "websocket"}}
					}
				}
			}
		},
	},
	{
		name:   "HTTP/1.1 to http services",
		reason: "Kuma speaks HTTP/2 from sidecar to sidecar; here the application itself listens, and `http` says that it speaks HTTP/1.1",
		apply: func(r *recording) {
			for name, c := range objects(r.clusters) {
				if c["type"] == "EDS" && r.protocolOf(name) == "http" {
					httpOptionsOf(c)["explicitHttpConfig"] = object{"httpProtocolOptions": object{}}
				}
			}
		},
	},
	{
		name:   "no HTTP/2 to tcp, kafka and untagged services",
		reason: "the options have no effect on connections that are not HTTP, and would be wrong for a copy of an HTTP request to such a service",
		apply: func(r *recording) {
			for name, c := range objects(r.clusters) {
				if p := r.protocolOf(name); c["type"] == "EDS" && (p == "tcp" || p == "kafka" || p == "") {
					delete(c, "typedExtensionProtocolOptions")
				}
			}
		},
	},
	{
		name:   "no x-kuma-tags",
		reason: "the header is for the sidecar of the destination, which takes it out; here it would reach the application",
		apply: func(r *recording) {
			for name, l := range objects(r.listeners) {
				for _, manager := range httpManagers(l) {
					if strings.HasPrefix(name, "outbound:") {
						delete(manager["routeConfig"].(object), "requestHeadersToAdd")
					}
				}
			}
		},
	},
	{
		name: "route tables of their own",
		reason: "a route table inside a listener cannot change without the listener's filter chain, which Envoy then drains: " +
			"keep-alive connections would go on with the old routes, and then break. Over RDS a change takes effect " +
			"with the next request and breaks nothing",
		apply: func(r *recording) {
			for name, l := range objects(r.listeners) {
				for _, manager := range httpManagers(l) {
					if !strings.HasPrefix(name, "outbound:") {
						continue
					}
					table := manager["routeConfig"].(object)
					delete(manager, "routeConfig")
					manager["rds"] = object{
						"routeConfigName": table["name"],
						"configSource":    object{"ads": object{}, "resourceApiVersion": "V3"},
					}
					r.routes[table["name"].(string)] = table
				}
			}
		},
	},
	{
		name:   "no kafka_broker filter",
		reason: "the filter only counts, and is not part of the Envoy that is used here but of its contrib build: Envoy would refuse the listener",
		apply: func(r *recording) {
			for _, l := range objects(r.listeners) {
				for _, chain := range list(l["filterChains"]) {
					chain["filters"] = without(chain["filters"], "envoy.filters.network.kafka_broker")
				}
			}
		},
	},
	{
		name:   "no zones",
		reason: "there is one machine and no zone: kuma-cp adds the tag kuma.io/zone to every inbound, and endpoints get it as their locality",
		apply: func(r *recording) {
			for _, l := range objects(r.listeners) {
				delete(l["metadata"].(object)["filterMetadata"].(object)["io.kuma.tags"].(object), "kuma.io/zone")
			}
			for _, e := range endpointsOf(r) {
				metadata := e["metadata"].(object)["filterMetadata"].(object)
				for key := range metadata {
					delete(metadata[key].(object), "kuma.io/zone")
					if len(metadata[key].(object)) == 0 {
						delete(metadata, key)
					}
				}
				if len(metadata) == 0 {
					delete(e, "metadata")
				}
			}
			for _, assignment := range objects(r.endpoints) {
				for _, locality := range list(assignment["endpoints"]) {
					delete(locality, "locality")
				}
			}
		},
	},
	{
		name:   "no labels of data planes",
		reason: "kuma-cp computes the labels, and only policies that are not known here read them",
		apply: func(r *recording) {
			for _, e := range endpointsOf(r) {
				if metadata, ok := e["metadata"].(object); ok {
					delete(metadata["filterMetadata"].(object), "io.kuma.labels")
					if len(metadata["filterMetadata"].(object)) == 0 {
						delete(e, "metadata")
					}
				}
			}
		},
	},
}

var tagsHash = regexp.MustCompile(`-[0-9a-f]{16}$`)

// protocolOf is the tag of the service that a cluster is for.
func (r *recording) protocolOf(cluster string) any {
	for _, resource := range r.input {
		instances := []object{resource}
		switch resource["type"] {
		case "Dataplane":
			instances = list(resource["networking"].(object)["inbound"])
		case "ExternalService":
		default:
			continue
		}
		for _, instance := range instances {
			tags := instance["tags"].(object)
			if tags["kuma.io/service"] == tagsHash.ReplaceAllString(cluster, "") {
				if p, ok := tags["kuma.io/protocol"]; ok {
					return p
				}
				return ""
			}
		}
	}
	return nil
}

func objects(named object) map[string]object {
	out := map[string]object{}
	for name, o := range named {
		out[name] = o.(object)
	}
	return out
}

func list(v any) []object {
	var out []object
	items, _ := v.([]any)
	for _, item := range items {
		out = append(out, item.(object))
	}
	return out
}

func httpManagers(listener object) []object {
	var out []object
	for _, chain := range list(listener["filterChains"]) {
		for _, filter := range list(chain["filters"]) {
			if filter["name"] == "envoy.filters.network.http_connection_manager" {
				out = append(out, filter["typedConfig"].(object))
			}
		}
	}
	return out
}

func routesOf(manager object) []object {
	var out []object
	for _, host := range list(manager["routeConfig"].(object)["virtualHosts"]) {
		out = append(out, list(host["routes"])...)
	}
	return out
}

func httpOptionsOf(cluster object) object {
	return cluster["typedExtensionProtocolOptions"].(object)["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].(object)
}

// endpointsOf returns the endpoints that are served over EDS.
func endpointsOf(r *recording) []object {
	var out []object
	for _, name := range slices.Sorted(maps.Keys(r.endpoints)) {
		for _, locality := range list(r.endpoints[name].(object)["endpoints"]) {
			out = append(out, list(locality["lbEndpoints"])...)
		}
	}
	return out
}

func without(filters any, name string) []any {
	return slices.DeleteFunc(slices.Clone(filters.([]any)), func(f any) bool { return f.(object)["name"] == name })
}
