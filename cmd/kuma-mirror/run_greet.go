package main

import (
	"fmt"
	"io"
	"net"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

// greeting tells what is served and what to do next.
type greeting struct {
	// xds and api are where they listen, as host:port; api is empty when it is
	// off.
	xds, api string
	// sources of the resources: files, directories and the store's file.
	sources []string
	// files says whether there are files or directories among them.
	files bool
	// writable says whether the API takes changes.
	writable bool
	// tls and token are what the listeners ask for.
	tls, token bool
	// proxyFlags are those that kuma-mirror proxy needs here.
	proxyFlags string
}

func (g greeting) write(w io.Writer, resources []*api.Resource) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	dataplanes := mesh.New(resources).Dataplanes()
	say("Serving xDS on %s for %s of %s", g.xds, count(len(dataplanes), "data plane"), strings.Join(g.sources, ", "))
	if g.api != "" {
		readOnly := ""
		if !g.writable {
			readOnly = ", which changes nothing: --data-dir gives it a store"
		}
		say("Serving the API on %s%s", g.apiURL(), readOnly)
		say("Serving the web page on %s/gui", g.apiURL())
	}
	if len(dataplanes) == 0 {
		switch {
		case g.writable && g.api != "":
			say("Add a Dataplane to have something to serve:\n  kuma-mirror apply -f FILE%s", g.clientFlags())
		case g.files:
			say("Add a Dataplane to the files to have something to serve.")
		default:
			say("The store has no Dataplane, and the API that could add one is off.")
		}
		return
	}
	var line string
	for i, key := range dataplanes {
		if i == 0 || key.Mesh != dataplanes[i-1].Mesh {
			line = "  mesh " + key.Mesh + ": " + key.Name
		} else {
			line += ", " + key.Name
		}
		if i+1 == len(dataplanes) || dataplanes[i+1].Mesh != key.Mesh {
			say("%s", line)
		}
	}
	example := caller(resources, dataplanes)
	command := "  kuma-mirror proxy --dataplane " + example.Name
	if example.Mesh != api.DefaultMesh {
		command += " --mesh " + example.Mesh
	}
	if at := dialable(g.xds); at != defaultXDSAddress {
		command += " --xds-address " + at
	}
	say("Start the Envoy of one of them in another terminal:\n%s%s", command, g.proxyFlags)
	if g.api != "" {
		say("See what the mirrors do:\n  kuma-mirror status%s", g.clientFlags())
	}
}

func (g greeting) apiURL() string {
	scheme := "http://"
	if g.tls {
		scheme = "https://"
	}
	return scheme + dialable(g.api)
}

// clientFlags are those that the commands which ask the API need here.
func (g greeting) clientFlags() string {
	var flags string
	if url := g.apiURL(); url != client.DefaultAddress {
		flags += " --address " + url
	}
	if g.tls {
		flags += " --ca-cert-file FILE"
	}
	if g.token {
		flags += " --token-file FILE"
	}
	return flags
}

// dialable is where this machine reaches what listens on address.
func dialable(address string) string {
	name, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(name); err == nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// caller is the first data plane with outbounds, where there is one.
func caller(resources []*api.Resource, dataplanes []api.Key) api.Key {
	calls := map[api.Key]bool{}
	for _, r := range resources {
		if d, ok := r.Spec.(*api.Dataplane); ok && len(d.GetNetworking().GetOutbound()) > 0 {
			calls[r.Key()] = true
		}
	}
	for _, key := range dataplanes {
		if calls[key] {
			return key
		}
	}
	return dataplanes[0]
}
