package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// recording is what a stock kumactl and this API said to each other; see
// testdata/kumactl/README.md.
type recording struct {
	// Resources, and nodes of connected Envoys, that it starts from.
	Resources string    `yaml:"resources,omitempty"`
	Connected []string  `yaml:"connected,omitempty"`
	Commands  []command `yaml:"commands"`
}

// command is what a user typed and saw, and what kumactl did for it.
type command struct {
	Run       string     `yaml:"run"`
	Stdin     string     `yaml:"stdin,omitempty"`
	Stdout    string     `yaml:"stdout,omitempty"`
	Stderr    string     `yaml:"stderr,omitempty"`
	Exit      int        `yaml:"exit,omitempty"`
	Exchanges []exchange `yaml:"exchanges,omitempty"`
}

type exchange struct {
	Method  string            `yaml:"method"`
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers,omitempty"`
	Body    string            `yaml:"body,omitempty"`
	Status  int               `yaml:"status"`
	Answer  string            `yaml:"answer,omitempty"`
}

var _ = Describe("a stock kumactl", func() {
	files, err := filepath.Glob(filepath.Join("testdata", "kumactl", "*.yaml"))
	if err != nil || len(files) == 0 {
		panic(fmt.Sprint("no recordings: ", err))
	}
	for _, file := range files {
		It("still gets what it was content with: "+strings.TrimSuffix(filepath.Base(file), ".yaml"), func() {
			content, err := os.ReadFile(file)
			Expect(err).NotTo(HaveOccurred())
			decoder := yaml.NewDecoder(bytes.NewReader(content))
			decoder.KnownFields(true)
			var s recording
			Expect(decoder.Decode(&s)).To(Succeed())
			if kumactl := os.Getenv("KUMACTL"); kumactl != "" {
				record(kumactl, &s)
				var out bytes.Buffer
				encoder := yaml.NewEncoder(&out)
				encoder.SetIndent(2)
				Expect(encoder.Encode(s)).To(Succeed())
				Expect(os.WriteFile(file, out.Bytes(), 0o600)).To(Succeed())
			}

			w := newWorld(setup{serves: true})
			w.startsAs(s)
			exchanges := 0
			for _, command := range s.Commands {
				for _, e := range command.Exchanges {
					By(command.Run + ": " + e.Method + " " + e.Path)
					w.replay(e)
					exchanges++
				}
			}
			Expect(exchanges).To(BeNumerically(">", 0))
		})
	}
})

// startsAs makes the world what the recording starts from.
func (w *world) startsAs(s recording) {
	GinkgoHelper()
	if s.Resources != "" {
		w.has(s.Resources)
	}
	for _, node := range s.Connected {
		w.connect(node)
		mesh, name, _ := strings.Cut(node, ".")
		Eventually(func() string {
			return w.get("/meshes/" + mesh + "/dataplanes/" + name + "/_overview").body
		}, 5*time.Second).Should(ContainSubstring("responsesAcknowledged"))
	}
}

var _ = Describe("mirrors and kumactl, which does not know them", func() {
	const path = "/meshes/default/traffic-routes/backend"
	kumactl := header{"User-Agent", "kumactl/2.14.3 (linux; amd64; Kuma/unknown)"}
	entry := func(a answer) object {
		GinkgoHelper()
		Expect(a.status).To(Equal(http.StatusOK), a.body)
		return a.JSON()["conf"].(object)["http"].([]any)[0].(object)
	}

	It("are encoded for it, and for who asks for that", func() {
		w := newWorld(setup{})
		w.has(shop)
		for _, got := range []answer{w.get(path, kumactl), w.get(path + "?mirrors=encoded"), w.get(path+"?mirrors=encoded", kumactl)} {
			Expect(entry(got)).NotTo(HaveKey("mirror"))
			Expect(entry(got)["split"]).To(HaveLen(3))
		}
		for _, got := range []answer{w.get(path), w.get(path + "?mirrors=written"), w.get(path + "?mirrors=decoded"), w.get(path+"?mirrors=written", kumactl)} {
			Expect(entry(got)).To(HaveKey("mirror"))
		}
		Expect(w.get("/traffic-routes", kumactl).body).To(ContainSubstring("mirror.kuma-mirror.io/"))
		Expect(w.get("/traffic-routes").body).NotTo(ContainSubstring("mirror.kuma-mirror.io/"))
		Expect(w.get(path + "?mirrors=off").status).To(Equal(http.StatusBadRequest))
		Expect(w.get("/traffic-routes?mirrors=off").status).To(Equal(http.StatusBadRequest))
		Expect(w.get("/meshes/shop/traffic-routes?mirrors=off").status).To(Equal(http.StatusBadRequest), "where there are none, too")
	})

	It("come back whole when it applies what it has printed", func() {
		w := newWorld(setup{})
		w.has(shop)
		before := w.get(path).JSON()
		printed := w.get(path, kumactl).JSON()
		applied := w.put(path, printed, kumactl)
		Expect(applied.body).To(MatchJSON(`{}`), "no warning")
		after := w.get(path + "?mirrors=decoded").JSON()
		Expect(after["conf"]).To(Equal(before["conf"]))
		Expect(entry(w.get(path+"?mirrors=written"))).NotTo(HaveKey("mirror"), "it was written encoded")
	})

	It("are missed aloud when it takes them off", func() {
		w := newWorld(setup{})
		w.has(shop)
		without := w.get(path).JSON()
		delete(without["conf"].(object)["http"].([]any)[0].(object), "mirror")

		Expect(w.put(path, without, kumactl).JSON()["warnings"]).To(ConsistOf(And(ContainSubstring("backend"), ContainSubstring("kuma-mirror encode"))))
		Expect(w.put(path, without, kumactl).body).To(MatchJSON(`{}`), "there is none any more")
		w.has(shop)
		Expect(w.put(path, without).body).To(MatchJSON(`{}`), "others mean what they send")
	})

	It("have an age where files gave them none", func() {
		w := newWorld(setup{files: []string{filed("type: Mesh\nname: filed\n")}})
		Expect(w.get("/meshes/filed").JSON()).NotTo(HaveKey("modificationTime"))
		when, err := time.Parse(time.RFC3339Nano, w.get("/meshes/filed", kumactl).JSON()["modificationTime"].(string))
		Expect(err).NotTo(HaveOccurred())
		Expect(when).To(BeTemporally("~", time.Now(), time.Minute))
	})
})

// replay sends what kumactl sent. The answer has to have the same status and
// all that the recorded one has: kumactl passes over what it does not know.
// The words of errors are for people and may change.
func (w *world) replay(e exchange) {
	GinkgoHelper()
	req, err := http.NewRequest(e.Method, w.url+e.Path, strings.NewReader(e.Body))
	Expect(err).NotTo(HaveOccurred())
	for name, value := range e.Headers {
		req.Header.Set(name, value)
	}
	resp, err := w.client.Do(req)
	Expect(err).NotTo(HaveOccurred())
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	Expect(err).NotTo(HaveOccurred())
	Expect(resp.StatusCode).To(Equal(e.Status), string(body))
	var want, got any
	Expect(json.Unmarshal([]byte(e.Answer), &want)).To(Succeed(), e.Answer)
	Expect(json.Unmarshal(body, &got)).To(Succeed(), string(body))
	Expect(missing("", settled(want), settled(got))).To(BeEmpty(), "recorded:\n%s\nanswered:\n%s", e.Answer, body)
}

// missing says what got has not of want.
func missing(at string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok {
			return []string{at + " is no object"}
		}
		var all []string
		for name, value := range want {
			if has, ok := got[name]; ok {
				all = append(all, missing(at+"/"+name, value, has)...)
			} else {
				all = append(all, at+"/"+name+" is not there")
			}
		}
		return all
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return []string{fmt.Sprintf("%s is no list of %d", at, len(want))}
		}
		var all []string
		for i := range want {
			all = append(all, missing(fmt.Sprintf("%s/%d", at, i), want[i], got[i])...)
		}
		return all
	default:
		if want != got {
			return []string{fmt.Sprintf("%s is %v instead of %v", at, got, want)}
		}
		return nil
	}
}

var (
	timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`)
	address   = regexp.MustCompile(`^http://127\.0\.0\.1:\d+`)
)

// settled replaces what is another in each run.
func settled(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for name, field := range v {
			switch name {
			case "hostname", "instanceId", "controlPlaneInstanceId", "detail", "reason", "warnings":
				v[name] = fmt.Sprintf("some %T", field)
			default:
				v[name] = settled(field)
			}
		}
	case []any:
		for i, entry := range v {
			v[i] = settled(entry)
		}
	case string:
		if timestamp.MatchString(v) {
			return "some time"
		}
		return address.ReplaceAllString(v, "http://host")
	}
	return value
}
