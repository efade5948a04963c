package rest

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"os"
)

// index is the body of GET /, in Kuma's words.
type index struct {
	Hostname   string `json:"hostname"`
	Product    string `json:"product"`
	Version    string `json:"version"`
	InstanceID string `json:"instanceId"`
	ClusterID  string `json:"clusterId"`
	GUI        string `json:"gui"`
}

// newIndex says what this is. `kumactl config control-planes add` takes a server
// whose product is Kuma, or whose version has the word preview in it, which
// marks a build that is none of Kuma's releases: that is the case here, and it
// also spares the user a warning about versions with every command.
func newIndex(version string) index {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return index{
		Hostname:   name,
		Product:    "kuma-mirror",
		Version:    version + "+kuma-2.14-preview",
		InstanceID: name + "-" + newID(2),
		ClusterID:  "standalone",
	}
}

// newID returns a random name of 2n hex digits.
func newID(n int) string {
	id := make([]byte, n)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

func (s *server) getIndex(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.index)
}

func (s *server) getConfig(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.config)
}

// resourceType describes a kind, as Kuma's /_resources does, out of which
// `kumactl export` takes the kinds to export.
type resourceType struct {
	Name                string  `json:"name"`
	Path                string  `json:"path"`
	SingularDisplayName string  `json:"singularDisplayName"`
	PluralDisplayName   string  `json:"pluralDisplayName"`
	Scope               string  `json:"scope"`
	ShortName           string  `json:"shortName"`
	ReadOnly            bool    `json:"readOnly"`
	IncludeInFederation bool    `json:"includeInFederation"`
	Policy              *policy `json:"policy,omitempty"`
}

// policy says how a policy chooses what it is for. No policy here has a
// targetRef.
type policy struct {
	IsTargetRef       bool `json:"isTargetRef"`
	HasToTargetRef    bool `json:"hasToTargetRef"`
	HasFromTargetRef  bool `json:"hasFromTargetRef"`
	HasRulesTargetRef bool `json:"hasRulesTargetRef"`
	IsFromAsRules     bool `json:"isFromAsRules"`
}

func (s *server) getResourceTypes(w http.ResponseWriter, _ *http.Request) error {
	var body struct {
		Resources []resourceType `json:"resources"`
	}
	for _, k := range kinds() {
		t := resourceType{
			Name:                string(k.Kind),
			Path:                k.path,
			SingularDisplayName: k.singular,
			PluralDisplayName:   k.plural,
			Scope:               "Mesh",
			ShortName:           k.short,
			ReadOnly:            s.readOnly,
			IncludeInFederation: k.federated,
		}
		if k.isMesh() {
			t.Scope = "Global"
		}
		if k.policy {
			t.Policy = &policy{}
		}
		body.Resources = append(body.Resources, t)
	}
	return writeJSON(w, http.StatusOK, body)
}

// policyType describes a policy, as Kuma's /policies does.
type policyType struct {
	Name                string `json:"name"`
	ReadOnly            bool   `json:"readOnly"`
	Path                string `json:"path"`
	SingularDisplayName string `json:"singularDisplayName"`
	PluralDisplayName   string `json:"pluralDisplayName"`
	IsExperimental      bool   `json:"isExperimental"`
	IsTargetRefBased    bool   `json:"isTargetRefBased"`
	IsInbound           bool   `json:"isInbound"`
	IsOutbound          bool   `json:"isOutbound"`
}

func (s *server) getPolicies(w http.ResponseWriter, _ *http.Request) error {
	var body struct {
		Policies []policyType `json:"policies"`
	}
	for _, k := range kinds() {
		if k.policy {
			body.Policies = append(body.Policies, policyType{
				Name:                string(k.Kind),
				ReadOnly:            s.readOnly,
				Path:                k.path,
				SingularDisplayName: k.singular,
				PluralDisplayName:   k.plural,
			})
		}
	}
	return writeJSON(w, http.StatusOK, body)
}
