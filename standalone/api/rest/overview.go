package rest

import (
	"encoding/json"
	"net/http"
	"time"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

// overview is a data plane beside what is known of its Envoy: Kuma's
// DataplaneOverview, of which `kumactl inspect dataplanes` makes its table.
type overview struct {
	Type             string            `json:"type"`
	Mesh             string            `json:"mesh"`
	Name             string            `json:"name"`
	Labels           map[string]string `json:"labels,omitempty"`
	CreationTime     time.Time         `json:"creationTime,omitzero"`
	ModificationTime time.Time         `json:"modificationTime,omitzero"`
	Dataplane        json.RawMessage   `json:"dataplane"`
	DataplaneInsight insight           `json:"dataplaneInsight"`
}

// insight has the stream of the Envoy, none while it has no connection.
type insight struct {
	Subscriptions []subscription `json:"subscriptions,omitempty"`
}

// subscription is an xDS stream. Without a time of disconnection it is online.
type subscription struct {
	ID                     string             `json:"id"`
	ControlPlaneInstanceID string             `json:"controlPlaneInstanceId"`
	ConnectTime            time.Time          `json:"connectTime"`
	Status                 subscriptionStatus `json:"status"`
}

type subscriptionStatus struct {
	LastUpdateTime time.Time `json:"lastUpdateTime,omitzero"`
	Total          responses `json:"total"`
}

// responses are xDS responses that the Envoy has answered. Kuma's JSON has 64
// bits in quotes.
type responses struct {
	Sent         uint64 `json:"responsesSent,omitempty,string"`
	Acknowledged uint64 `json:"responsesAcknowledged,omitempty,string"`
	Rejected     uint64 `json:"responsesRejected,omitempty,string"`
}

// overviews is the view of data planes with their Envoys.
func (s *server) overviews(_ *http.Request, entries []catalog.Entry) ([]json.RawMessage, error) {
	items := make([]json.RawMessage, len(entries))
	for i, e := range entries {
		spec, err := encodeSpec(e.Resource)
		if err != nil {
			return nil, err
		}
		meta := e.Resource.Meta
		items[i], err = json.Marshal(overview{
			Type:             "DataplaneOverview",
			Mesh:             meta.Mesh,
			Name:             meta.Name,
			Labels:           meta.Labels,
			CreationTime:     meta.CreationTime,
			ModificationTime: meta.ModificationTime,
			Dataplane:        spec,
			DataplaneInsight: s.insight(e.Resource.Key()),
		})
		if err != nil {
			return nil, err
		}
	}
	return items, nil
}

func (s *server) insight(dataplane api.Key) insight {
	if s.host == nil {
		return insight{}
	}
	proxy := s.host.Proxy(dataplane)
	if !proxy.Connected {
		return insight{}
	}
	return insight{Subscriptions: []subscription{{
		ID:                     proxy.Node,
		ControlPlaneInstanceID: s.index.InstanceID,
		ConnectTime:            proxy.Since.UTC(),
		Status:                 s.streams.status(proxy.Node),
	}}}
}

// encodeSpec writes the spec alone, which the Kubernetes form has on its own.
func encodeSpec(r *api.Resource) (json.RawMessage, error) {
	whole, err := encode(r, api.Kubernetes)
	if err != nil {
		return nil, err
	}
	var parts struct {
		Spec json.RawMessage `json:"spec"`
	}
	err = json.Unmarshal(whole, &parts)
	return parts.Spec, err
}

func (s *server) getOverview(k kind) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := s.requireMesh(r); err != nil {
			return err
		}
		entry, ok := s.catalog.Get(k.key(r))
		if !ok {
			return &catalog.NotFoundError{Key: k.key(r)}
		}
		items, err := s.overviews(r, []catalog.Entry{entry})
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, items[0])
	}
}
