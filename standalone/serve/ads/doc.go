// Package ads serves each proxy its resources over one aggregated xDS stream,
// state of the world and delta, so that no change fails a request.
//
// # Make before break
//
// Every stream goes through a change in three steps:
//
//  1. New and changed clusters are sent, with their endpoints; what leaves
//     stays. Endpoints that change alone go out at once.
//  2. When Envoy has acknowledged the clusters, which it does not do before
//     they are warm, the listeners and route tables are sent.
//  3. When those are acknowledged, the clusters that nothing names any more are
//     removed: after a short grace or, where a listener was replaced or
//     removed, when its connections must have drained, for they use the old
//     listener with the old route table inside.
//
// A configuration set meanwhile takes over from where the stream stands. What
// Envoy may still route to stays until the tables that replace it are
// acknowledged, whatever came in between.
//
// A refusal (NACK) of anything but mirrors ends the change for that proxy:
// nothing is removed, tables do not follow refused clusters, and the refused
// resources are sent again with the next configuration that differs, not
// before. Envoy keeps running what it has accepted.
//
// # The state of a stream
//
// A client is the state of one stream:
//
//	full    what Envoy is to run
//	target  full without the mirrors that are left out, see below
//	tables  whose listeners and route tables are sent: target's, or those of an
//	        earlier configuration while Envoy has not acknowledged target's clusters
//	live    clusters that a table which Envoy may still use can name
//	kept    clusters that left target and are not removed yet
//	halted  Envoy refused something of target that is not a mirror's
//
// What each event does to it; what a row does not name stays as it is:
//
//	event                              effect
//	another configuration is set       full and target are new; kept gets what Envoy
//	                                   holds of the old target; halted ends
//	target's clusters are acknowledged tables becomes target, when no tables are on
//	                                   their way and nothing is halted; live gets
//	                                   target's clusters
//	target's tables are acknowledged   live is target's clusters alone; for each kept
//	                                   cluster the grace begins, and the drain if a
//	                                   listener was replaced
//	grace and drain are over           the cluster leaves kept, and Envoy is told
//	NACK that can be about mirrors     target loses them, as if another configuration
//	                                   were set
//	any other NACK of target           halted: no step, and nothing is removed; kept
//	                                   falls back to the versions that Envoy accepted
//	NACK of an earlier configuration   kept likewise; the newer one gets its own chance
//	an Envoy resumes over delta        live gets the clusters that it lists, and kept
//	                                   those of them that target does not have
//	an Envoy resumes over state of     the same with the clusters of the earlier
//	the world, with a known version    stream that had sent this version
//
// An Envoy that resumes while a cluster is warming does not ask for clusters
// (Envoy issues 9934, 36951): until it does, the stream offers the endpoints of
// earlier streams, too, and takes no step.
//
// # Mirrors that are left out
//
// A refusal that can be about mirrors alone does not end the change: what Envoy
// refused of them is left out of its target, which is then the configuration
// with those mirrors at 0 %. A part is a mirror cluster with its endpoints, or
// the mirrors of one route table. Per stream each part is in one of these
// states:
//
//	state      event                                        next state
//	served     named in a NACK, or alone in it              left out
//	served     one of several in a NACK that names nothing  suspected
//	suspected  Envoy runs the rest, nothing else is tried   tried
//	left out   Options.Retry has passed                     tried
//	tried      acknowledged                                 served
//	tried      NACK                                         left out or suspected, as above
//	any        its content changes, or it goes              served
//	suspected  another configuration is set                 served
//
// A part that is tried is sent as if it were served, and reported in
// ProxyStatus.LeftOut until it is acknowledged. A NACK that names other
// resources and no mirror, or comes for a response without new mirrors, is the
// refusal of above. A stream begins with all parts served, but for the route
// tables without mirrors of an earlier stream of the proxy: a starting listener
// with a refused table would answer 404.
//
// # Reconnecting
//
// Versions are hashes of the content: a restarted host sends an Envoy only
// what differs. Over delta Envoy lists what it holds, so clusters of an earlier
// configuration are kept through the three steps. Over state of the world it
// gives one version for all; a host that still remembers it (only the stream
// broke) goes on as if nothing had happened, but one that was restarted and has
// another configuration by then cannot name the clusters to keep: they go with
// its first response, and requests to them may fail until the new route tables
// arrive. Prefer delta.
//
// An Envoy must get both its clusters and its listeners here: one that comes
// back with either is taken to have the other, and to ask for it.
package ads
