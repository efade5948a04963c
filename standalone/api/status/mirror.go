package status

import (
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// Mirror is how one mirror of a TrafficRoute does on one outbound of one data
// plane. A TrafficRoute that governs no outbound has a Mirror without Dataplane
// for each of its mirrors.
type Mirror struct {
	Mesh string `json:"mesh"`
	// Dataplane is the name of the data plane; empty where the TrafficRoute
	// governs no outbound of any.
	Dataplane string `json:"dataplane,omitempty"`
	// Policy is the name of the TrafficRoute.
	Policy string `json:"policy"`
	// Path of the mirror in the TrafficRoute, such as conf.http[0].mirror.
	Path string `json:"path"`
	// Match is the entry's match in words, such as "path prefix /api/v1,
	// method GET"; that of the default entry is "everything else".
	Match string `json:"match"`
	// Outbound is the service that the outbound names, and Listeners are the
	// outbound's, by name: several where a data plane has it on several ports.
	// Empty without Dataplane.
	Outbound  string   `json:"outbound,omitempty"`
	Listeners []string `json:"listeners,omitempty"`
	Shadow    Shadow   `json:"shadow"`
	// Percentage is the configured one, 0 to 100.
	Percentage float64 `json:"percentage"`

	State State `json:"state"`
	// Reason says why State is not active, and what to do; empty where it is.
	Reason string `json:"reason,omitempty"`
	// Since is when State began.
	Since time.Time `json:"since"`

	// Window has the figures of the last minute, or of the time since the
	// mirror was changed where that is shorter. Nil while there are none: the
	// mirror is not in Envoy, or Envoy has sent no stats of it yet.
	Window *Window `json:"window,omitempty"`
	// Total has all that was counted since this host first heard of the
	// mirror on that data plane; its counters never fall. Nil as Window.
	Total *Total `json:"total,omitempty"`
	// SharedWith are the mirrors of the same data plane whose copies Envoy
	// counts together with this one's, as "policy: path (outbound)": they have
	// one mirror cluster, or one name. Copies and Dropped are then this
	// mirror's share by what it should have sent, and the shadow's answers are
	// those to all of them.
	SharedWith []string `json:"sharedWith,omitempty"`
	// Note is what else there is to know about the figures; often empty.
	Note string `json:"note,omitempty"`

	// Envoy is set by Inspect alone; nil where Envoy is given nothing, too.
	Envoy *Envoy `json:"envoy,omitempty"`
}

// Shadow is where the copies go.
type Shadow struct {
	// Tags of the destination, without wildcards.
	Tags api.Tags `json:"tags"`
	// Name is the mirror's own; may be empty.
	Name string `json:"name,omitempty"`
	// Cluster is Envoy's mirror cluster; empty where there is none.
	Cluster string `json:"cluster,omitempty"`
	// Endpoints is how many instances the shadow has.
	Endpoints int `json:"endpoints"`
}

// State says whether a mirror copies requests, and if not, why.
type State string

const (
	// Active mirrors are in Envoy and have endpoints to copy to.
	Active State = "active"
	// Off mirrors are at 0 %.
	Off State = "off"
	// NotHTTP mirrors stand on an outbound that is TCP.
	NotHTTP State = "not-http"
	// NoMatch mirrors belong to a TrafficRoute that governs no outbound.
	NoMatch State = "no-match"
	// Refused mirrors were left out: the route table is not what the
	// TrafficRoute says.
	Refused State = "refused"
	// Failed mirrors have no cluster, or their data plane's configuration
	// could not be generated.
	Failed State = "failed"
	// NoEndpoints mirrors have no instance to copy to.
	NoEndpoints State = "no-endpoints"
	// Waiting mirrors have instances by name, of which Envoy has no address.
	Waiting State = "waiting"
	// Unreachable mirrors have instances, and none took a copy lately though
	// there were requests.
	Unreachable State = "unreachable"
	// NACK says that Envoy refused its configuration.
	NACK State = "nack"
	// NotConnected says that the data plane's Envoy is not connected.
	NotConnected State = "not-connected"
	// PendingACK says that Envoy has not acknowledged its configuration yet.
	PendingACK State = "pending"
)

// States are all there are.
func States() []State {
	return []State{Active, Off, NotHTTP, NoMatch, Refused, Failed, NoEndpoints, Waiting, Unreachable, NACK, NotConnected, PendingACK}
}

// Counts are what Envoy counted for one mirror. Counters are whole numbers
// unless SharedWith says that they are a share.
type Counts struct {
	// Requests that Envoy sent on by the mirror's entry: what is copied from.
	Requests uint64 `json:"requests"`
	// Copies that were sent to the shadow.
	Copies float64 `json:"copies"`
	// Dropped copies never reached the shadow, but for Duration.
	Dropped Dropped `json:"dropped"`
	// PrimaryErrors are answers 5xx that clients got on the entry.
	PrimaryErrors uint64 `json:"primaryErrors"`
	// ShadowErrors are copies that the shadow answered with 5xx or broke off.
	ShadowErrors float64 `json:"shadowErrors"`
}

// Dropped are copies by why they were dropped.
type Dropped struct {
	// Concurrency: over limits.maxConcurrentRequests.
	Concurrency float64 `json:"concurrency"`
	// Body: the body was over limits.maxRequestBodyBytes, or the request
	// broke off before it was whole.
	Body float64 `json:"body"`
	// Duration: cut off after limits.maxDuration. As a rule the shadow had
	// got the copy and not answered, so these are among Copies, too.
	Duration float64 `json:"duration"`
	// NoHealthyEndpoint: no instance, or all ejected for failing.
	NoHealthyEndpoint float64 `json:"noHealthyEndpoint"`
	// ConnectionFailure: the connection to the shadow failed.
	ConnectionFailure float64 `json:"connectionFailure"`
}

// Sum is how many there are in all.
func (d Dropped) Sum() float64 {
	return d.Concurrency + d.Body + d.Duration + d.NoHealthyEndpoint + d.ConnectionFailure
}

// Answers are answers by the class of their status, as their headers have it:
// one that breaks off in its middle is in its class.
type Answers struct {
	Success     float64 `json:"2xx"`
	Redirect    float64 `json:"3xx"`
	ClientError float64 `json:"4xx"`
	// ServerError of the shadow has the copies that broke off before an answer, too.
	ServerError float64 `json:"5xx"`
}

// Add adds a share of o.
func (a *Answers) Add(o Answers, share float64) {
	a.Success += share * o.Success
	a.Redirect += share * o.Redirect
	a.ClientError += share * o.ClientError
	a.ServerError += share * o.ServerError
}

// Sum is how many there are in all.
func (a Answers) Sum() float64 { return a.Success + a.Redirect + a.ClientError + a.ServerError }

// Window is Counts over the latest time, and what follows from them.
type Window struct {
	// Seconds that are covered; at most about a minute.
	Seconds float64 `json:"seconds"`
	Counts
	// PrimaryAnswers are those that clients got on the entry, ShadowAnswers
	// those to the copies.
	PrimaryAnswers Answers `json:"primaryAnswers"`
	ShadowAnswers  Answers `json:"shadowAnswers"`
	// EffectivePercentage is 100 × Copies / Requests; nil without requests.
	EffectivePercentage *float64 `json:"effectivePercentage,omitempty"`
	// CopiesPerSecond and RequestsPerSecond are Copies and Requests by Seconds.
	CopiesPerSecond   float64 `json:"copiesPerSecond"`
	RequestsPerSecond float64 `json:"requestsPerSecond"`
	// PrimaryErrorRate and ShadowErrorRate are shares of the answers, 0 to 1;
	// nil without answers.
	PrimaryErrorRate *float64 `json:"primaryErrorRate,omitempty"`
	ShadowErrorRate  *float64 `json:"shadowErrorRate,omitempty"`
	// PrimaryLatency is that of the entry's requests, ShadowLatency that of
	// the copies, from when the request was whole until the answer was; nil
	// without answers.
	PrimaryLatency *Latency `json:"primaryLatency,omitempty"`
	ShadowLatency  *Latency `json:"shadowLatency,omitempty"`
}

// Latency in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
}

// Total is Counts since a time.
type Total struct {
	// Since is when counting began.
	Since time.Time `json:"since"`
	Counts
	// PrimaryAnswers and ShadowAnswers are as in Window.
	PrimaryAnswers Answers `json:"primaryAnswers"`
	ShadowAnswers  Answers `json:"shadowAnswers"`
}
