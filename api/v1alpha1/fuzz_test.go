package v1alpha1_test

import (
	"os"
	"path/filepath"
	"testing"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
)

// FuzzParse: whatever the input, Parse answers, and what it accepts can be
// written in both encodings and read again without loss.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"../../examples/proposal-*.yaml", "../../testdata/kuma-2.14.3/*/input.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	for _, seed := range []string{
		"", "---\n", "# a\n---\n...\n", "null", "[]", "{}", "{", "\uFEFF{}", "\xff",
		`{"type":"Mesh","name":"m"}{"type":"Mesh","name":"n"}`,
		`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"kuma.io/v1alpha1","kind":"Mesh","metadata":{"name":"m"}}]}`,
		"{type: Mesh, name: m, labels: &a {<<: *a, yes: \"1\"}, creationTime: 2024-01-01T00:00:00+01:00}",
		"{type: Dataplane, name: d, networking: {inbound: [{health: {}, state: Ignored, port: 80}]}}",
		"{type: ExternalService, name: e, networking: {tls: {caCert: {inline: AAEC}, serverName: '', clientCert: {inlineString: \"a\\n b\\n\"}}}}",
		"{type: TrafficRoute, name: r, conf: {mirror: {percentage: 1e-7, host: {suffix: false}, limits: {maxDuration: -1m0.5s, maxRequestBodyBytes: 0}}}}",
		"{type: TrafficRoute, name: r, conf: {loadBalancer: {ringHash: {minRingSize: '18446744073709551615'}}, mirrors: [{percentage: .nan}]}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		resources, err := api.Parse("fuzz", data)
		if err == nil && len(resources) == 0 {
			t.Fatal("neither resources nor an error")
		}
		if len(resources) == 0 {
			return
		}
		written, err := api.MarshalYAML(resources...)
		if err != nil {
			t.Fatal(err)
		}
		if len(written) > api.MaxInputBytes {
			return
		}
		again, err := api.Parse("written.yaml", written)
		if err != nil || len(again) != len(resources) {
			t.Fatalf("%d resources became %d: %v\n%s", len(resources), len(again), err, written)
		}
		for i, r := range resources {
			if d := difference(r, again[i]); d != "" {
				t.Fatalf("%s\n%s", d, written)
			}
			object, err := api.EncodeJSON(r)
			if err != nil {
				t.Fatal(err)
			}
			if len(object) > api.MaxInputBytes {
				continue
			}
			read, err := api.Parse("written.json", object)
			if err != nil || len(read) != 1 {
				t.Fatalf("%d resources: %v\n%s", len(read), err, object)
			}
			if d := difference(r, read[0]); d != "" {
				t.Fatalf("%s\n%s", d, object)
			}
		}
	})
}
