package client_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/plan"
	"github.com/kuma-mirror/kuma-mirror/standalone/source/catalog"
)

var meshes = api.Key{Kind: api.KindMesh, Name: "default"}

// serve starts a host that answers with h, and returns a client of it.
func serve(h http.HandlerFunc) *client.Client {
	GinkgoHelper()
	server := httptest.NewServer(h)
	DeferCleanup(server.Close)
	return newClient(client.Options{Address: server.URL})
}

func newClient(o client.Options) *client.Client {
	GinkgoHelper()
	c, err := client.New(o)
	Expect(err).NotTo(HaveOccurred())
	return c
}

// answer is a handler that always says the same.
func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func parse(source, documents string) []*api.Resource {
	GinkgoHelper()
	resources, err := api.Parse(source, []byte(documents))
	Expect(err).NotTo(HaveOccurred())
	return resources
}

const (
	demo = "type: Mesh\nname: demo\n"
	shop = "type: Mesh\nname: shop\n"
)

var _ = Describe("options", func() {
	DescribeTable("that are mistakes", func(message string, o client.Options) {
		_, err := client.New(o)
		Expect(err).To(MatchError(ContainSubstring(message)))
	},
		Entry("no scheme", "has to begin with http:// or https://", client.Options{Address: "127.0.0.1:5681"}),
		Entry("another scheme", "has to be http://HOST:PORT", client.Options{Address: "ftp://127.0.0.1"}),
		Entry("no host", "has to be http://HOST:PORT", client.Options{Address: "http://"}),
		Entry("a password", "and nothing more", client.Options{Address: "http://me:secret@127.0.0.1:5681"}),
		Entry("a query", "and nothing more", client.Options{Address: "http://127.0.0.1:5681?x=y"}),
		Entry("no URL", "is no URL", client.Options{Address: "http://[::1"}),
		Entry("a token in clear text", "anybody on the way could read it; use https://192.0.2.1:5681",
			client.Options{Address: "http://192.0.2.1:5681", Token: "secret"}),
		Entry("no file of certificates", "no such file", client.Options{CACertFile: "/does/not/exist"}),
		Entry("certificates that are none", "client_test.go: has no certificate in PEM", client.Options{CACertFile: "client_test.go"}),
	)

	It("send a token in clear text on this machine only", func() {
		for _, address := range []string{"http://localhost:1", "http://127.0.0.2:1", "http://[::1]:1", "https://192.0.2.1:1"} {
			newClient(client.Options{Address: address, Token: "secret"})
		}
	})

	It("are those of a host on this machine when nothing is said", func() {
		Expect(newClient(client.Options{}).Address()).To(Equal("http://127.0.0.1:5681"))
	})
})

var _ = Describe("a token", func() {
	write := func(content string) string {
		GinkgoHelper()
		file := filepath.Join(GinkgoT().TempDir(), "token")
		Expect(os.WriteFile(file, []byte(content), 0o600)).To(Succeed())
		return file
	}

	DescribeTable("is read", func(content string) {
		Expect(client.ReadToken(write(content))).To(Equal("s3cret-0123456789"))
	},
		Entry("without the white space around it", "  s3cret-0123456789\r\n"),
		Entry("from a host's file", "# for the clients\n\ns3cret-0123456789 admin me\n"),
	)

	DescribeTable("is one that a host could have", func(content, message string) {
		file := write(content)
		_, err := client.ReadToken(file)
		Expect(err).To(MatchError(And(HavePrefix(file+": "), ContainSubstring(message))))
	},
		Entry("not none", "\n# s3cret\n", "has no token"),
		Entry("not two", "a\nb\n", "has more than one token"),
		Entry("not a short one", "s3cret", "has 6 characters"),
		Entry("not binary", "0123456789abcde\x00f", "letters, digits"),
		Entry("not beyond ASCII", "0123456789abcdeé", "letters, digits"),
	)
})

var _ = Describe("requests", func() {
	It("carry the token and say who asks", func(ctx SpecContext) {
		var got http.Header
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.Header
			answer(200, "application/json", `{"type":"Mesh","name":"default"}`)(w, r)
		}))
		DeferCleanup(server.Close)
		c := newClient(client.Options{Address: server.URL + "/", Token: "s3cret"})
		Expect(c.Get(ctx, meshes)).To(HaveField("Resource.Meta.Name", "default"))
		Expect(got.Get("Authorization")).To(Equal("Bearer s3cret"))
		Expect(got.Get("User-Agent")).To(HavePrefix("kuma-mirror"))
	})

	It("name resources by their paths, whatever is in a name", func(ctx SpecContext) {
		var paths []string
		c := serve(func(w http.ResponseWriter, r *http.Request) {
			paths = append(paths, r.Method+" "+r.URL.EscapedPath())
			answer(200, "application/json", `{"type":"Mesh","name":"x"}`)(w, r)
		})
		for _, kind := range client.Kinds() {
			_, err := c.Get(ctx, api.Key{Kind: kind, Mesh: "shop", Name: "../a b"})
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(paths).To(Equal([]string{
			"GET /meshes/..%2Fa%20b",
			"GET /meshes/shop/dataplanes/..%2Fa%20b",
			"GET /meshes/shop/external-services/..%2Fa%20b",
			"GET /meshes/shop/traffic-routes/..%2Fa%20b",
		}))
	})

	It("follow the pages of a list, and go nowhere else for them", func(ctx SpecContext) {
		c := serve(func(w http.ResponseWriter, r *http.Request) {
			Expect(r.URL.Path).To(Equal("/traffic-routes"))
			page := map[string]string{"": "a", "1": "b", "2/x&y": "c"}[r.URL.Query().Get("offset")]
			next := map[string]string{
				"a": `"http://elsewhere.example/traffic-routes?offset=1&size=1"`,
				"b": `"/traffic-routes?offset=2%2Fx%26y"`,
				"c": "null",
			}[page]
			answer(200, "application/json", fmt.Sprintf(`{"total":3,"next":%s,"items":[{"type":"Mesh","name":%q,"kri":"kri_x"}]}`, next, page))(w, r)
		})
		resources, err := c.List(ctx, api.KindTrafficRoute, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(resources).To(HaveExactElements(HaveField("Meta.Name", "a"), HaveField("Meta.Name", "b"), HaveField("Meta.Name", "c")))
	})

	It("tell the files that resources come from", func(ctx SpecContext) {
		c := serve(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/meshes" {
				answer(200, "application/json", `{"items":[{"type":"Mesh","name":"a"},{"type":"Mesh","name":"b"}],"files":{"/b":"conf/ä 1.yaml"}}`)(w, r)
				return
			}
			w.Header().Set("Kuma-Mirror-File", "conf/%C3%A4%201.yaml")
			answer(200, "application/json", `{"type":"Mesh","name":"b"}`)(w, r)
		})
		items, err := c.List(ctx, api.KindMesh, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(items).To(HaveExactElements(HaveField("File", ""), HaveField("File", "conf/ä 1.yaml")))
		Expect(c.Get(ctx, api.Key{Kind: api.KindMesh, Name: "b"})).To(HaveField("File", "conf/ä 1.yaml"))
	})

	It("do not go round in circles", func(ctx SpecContext) {
		c := serve(answer(200, "application/json", `{"items":[],"next":"http://x/meshes?offset=7"}`))
		_, err := c.List(ctx, api.KindMesh, "")
		Expect(err).To(MatchError(ContainSubstring("cannot be followed")))
	})

	It("put documents, or name what is to be deleted, in a body", func(ctx SpecContext) {
		var got []string
		c := serve(func(w http.ResponseWriter, r *http.Request) {
			defer GinkgoRecover()
			Expect(r.Header.Get("Content-Type")).To(Equal("application/yaml"))
			body, err := io.ReadAll(r.Body)
			Expect(err).NotTo(HaveOccurred())
			got = append(got, r.Method+" "+r.RequestURI+"\n"+string(body))
			if r.URL.Path == "/plan" {
				answer(200, "application/json", `{"resources":[{"kind":"Mesh","name":"demo","result":"created"}]}`)(w, r)
				return
			}
			answer(200, "application/json", `[{"kind":"Mesh","name":"demo","result":"created"}]`)(w, r)
		})
		resources := parse("a.yaml", demo)
		keys := []api.Key{{Kind: api.KindTrafficRoute, Mesh: "shop", Name: "web"}, {Kind: api.KindMesh, Name: "shop"}}
		results := []plan.Resource{{Kind: api.KindMesh, Name: "demo", Result: catalog.Created}}
		Expect(c.Apply(ctx, resources)).To(Equal(results))
		Expect(c.Delete(ctx, keys)).To(Equal(results))
		Expect(c.PlanApply(ctx, resources)).To(HaveField("Resources", results))
		Expect(c.PlanDelete(ctx, keys)).To(HaveField("Resources", results))
		names := "type: TrafficRoute\nmesh: shop\nname: web\n---\n" + shop
		Expect(got).To(Equal([]string{
			"POST /apply\n" + demo, "POST /apply?delete=body\n" + names, "POST /plan\n" + demo, "POST /plan?delete=body\n" + names,
		}))
	})

	It("send no more at once than a host takes", func(ctx SpecContext) {
		c := serve(func(http.ResponseWriter, *http.Request) { Fail("nothing is sent") })
		r := parse("a.yaml", demo)[0]
		r.Meta.Labels = map[string]string{"long": strings.Repeat("x", api.MaxInputBytes)}
		_, err := c.PlanApply(ctx, []*api.Resource{r})
		Expect(err).To(MatchError(ContainSubstring("send it in parts")))
	})

	It("wait for a host that has too much to do, if it says so", func(ctx SpecContext) {
		asked := 0
		c := serve(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked == 1 {
				w.Header().Set("Retry-After", "1")
				answer(503, "application/problem+json", `{"title":"Could not plan","detail":"busy"}`)(w, r)
				return
			}
			answer(200, "application/json", "{}")(w, r)
		})
		_, err := c.PlanApply(ctx, parse("a.yaml", demo))
		Expect(err).NotTo(HaveOccurred())
		Expect(asked).To(Equal(2))

		for retry, tries := range map[string]int{"": 1, "soon": 1, "3600": 1} {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				w.Header().Set("Retry-After", retry)
				answer(503, "application/problem+json", `{"title":"Could not apply","detail":"the disk is full"}`)(w, r)
			}))
			DeferCleanup(server.Close)
			_, err := newClient(client.Options{Address: server.URL, Timeout: time.Second}).Apply(ctx, parse("a.yaml", demo))
			Expect(err).To(MatchError("Could not apply: the disk is full"))
			Expect(asked).To(Equal(tries), retry)
		}
	})
})

var _ = Describe("what a host refuses", func() {
	It("is told with the file and the name of the resource", func(ctx SpecContext) {
		c := serve(answer(400, "application/problem+json", `{"status":400,"title":"Could not apply","detail":"Resource is not valid","invalid_parameters":[
			{"field":"name","reason":"body#2: Mesh \"shop\": is no name"},
			{"field":"","reason":"body#9: what is that"},
			{"field":"mesh","reason":"of another"}]}`))
		_, err := c.Apply(ctx, append(parse("a.yaml", demo), parse("b.yaml", shop)...))
		var refused *client.Error
		Expect(errors.As(err, &refused)).To(BeTrue())
		Expect(refused.Violations).To(Equal(api.Violations{
			{Source: "b.yaml", Object: `Mesh "shop"`, Path: "name", Message: "is no name"},
			{Message: "body#9: what is that"},
			{Path: "mesh", Message: "of another"},
		}))
		Expect(err).To(MatchError("Could not apply: Resource is not valid\n" +
			"  b.yaml: Mesh \"shop\": name: is no name\n  body#9: what is that\n  mesh: of another"))
	})

	It("is of the one resource where there is one", func(ctx SpecContext) {
		c := serve(answer(400, "application/json", `{"title":"Could not apply","invalid_parameters":[{"field":"name","reason":"Mesh \"demo\": is no name"}]}`))
		_, err := c.Apply(ctx, parse("a.yaml", demo))
		Expect(err).To(MatchError("Could not apply\n  a.yaml: Mesh \"demo\": name: is no name"))
	})

	It("is told from what is not there", func(ctx SpecContext) {
		_, err := serve(answer(404, "application/problem+json", `{"title":"Could not retrieve a resource","detail":"Not found","missing":"Mesh/default"}`)).Get(ctx, meshes)
		Expect(client.IsNotFound(err)).To(BeTrue())
		for contentType, body := range map[string]string{
			"application/problem+json": `{"title":"Not found","detail":"There is no such path; /openapi.yaml has those there are"}`,
			"application/json":         `{"message":"no Route matched with those values"}`,
			"text/plain":               `{"missing":"Mesh/default"}`,
			"text/html":                "<html>nginx</html>",
		} {
			_, err := serve(answer(404, contentType, body)).Get(ctx, meshes)
			Expect(client.IsNotFound(err)).To(BeFalse(), body)
			Expect(err).To(MatchError(HaveSuffix("; see whether that is the address of a kuma-mirror host, and all of it: --address or KUMA_MIRROR_ADDRESS")))
		}
		_, err = serve(answer(500, "text/html", "<html>oops</html>")).Get(ctx, meshes)
		Expect(client.IsNotFound(err)).To(BeFalse())
		Expect(err).To(MatchError(MatchRegexp(`^http://127.0.0.1:\d+ answers 500 Internal Server Error$`)))
	})

	DescribeTable("for want of a token names the flag", func(ctx SpecContext, status int, token, hint string) {
		server := httptest.NewServer(answer(status, "application/json", `{"title":"Not so","detail":"because"}`))
		DeferCleanup(server.Close)
		_, err := newClient(client.Options{Address: server.URL, Token: token}).Get(ctx, meshes)
		Expect(err).To(MatchError(And(HavePrefix("Not so: because; "), ContainSubstring(hint), ContainSubstring("--token-file"))))
	},
		Entry("none given", 401, "", "name the file with the token"),
		Entry("a wrong one", 401, "s3cret", "not one that this host takes"),
		Entry("one that may not", 403, "s3cret", "a token that may do this"),
	)

	It("is not where a redirect leads to", func(ctx SpecContext) {
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { Fail("nobody goes there") }))
		DeferCleanup(other.Close)
		_, err := serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }).Get(ctx, meshes)
		Expect(err).To(MatchError(ContainSubstring("302 Found")))
	})

	DescribeTable("is an answer of something else", func(ctx SpecContext, body, message string) {
		_, err := serve(answer(200, "text/html", body)).Get(ctx, meshes)
		Expect(err).To(MatchError(ContainSubstring(message)))
	},
		Entry("no JSON", "<html>", "not what a kuma-mirror host gives"),
		Entry("no resource", `{"total":0,"items":[]}`, "not what this version of kuma-mirror understands"),
		Entry("a field of a later version", `{"type":"Mesh","name":"x","later":1}`, "later"),
	)
})

var _ = Describe("a host that is not reached", func() {
	It("is to be started, or named", func(ctx SpecContext) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		address := "http://" + l.Addr().String()
		Expect(l.Close()).To(Succeed())
		_, err = newClient(client.Options{Address: address}).Get(ctx, meshes)
		Expect(err).To(MatchError(address + ": nothing listens there; start the host with 'kuma-mirror run --data-dir DIR', " +
			"or say where it is with --address or KUMA_MIRROR_ADDRESS"))
		var failed *client.ConnectError
		Expect(errors.As(err, &failed)).To(BeTrue())
	})

	It("may hang up", func(ctx SpecContext) {
		_, err := serve(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).Get(ctx, meshes)
		Expect(err).To(MatchError(ContainSubstring("the host ended the connection")))
	})

	It("is given up after the timeout", func(ctx SpecContext) {
		hold := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
		DeferCleanup(server.Close)
		DeferCleanup(func() { close(hold) })
		_, err := newClient(client.Options{Address: server.URL, Timeout: 50 * time.Millisecond}).Get(ctx, meshes)
		Expect(err).To(MatchError(server.URL + ": no answer within 50ms; see whether the host is well, or allow more with --timeout"))
	})

	It("is given up when the user wants that, with the reason", func() {
		hold := make(chan struct{})
		c := serve(func(http.ResponseWriter, *http.Request) { <-hold })
		DeferCleanup(func() { close(hold) })
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(errors.New("interrupt signal received"))
		_, err := c.Get(ctx, meshes)
		Expect(err).To(MatchError("interrupt signal received"))
	})
})

var _ = Describe("TLS", func() {
	var server *httptest.Server
	var caFile string

	BeforeEach(func() {
		server = httptest.NewUnstartedServer(answer(200, "application/json", `{"type":"Mesh","name":"default"}`))
		server.Config.ErrorLog = log.New(GinkgoWriter, "", 0)
		server.StartTLS()
		DeferCleanup(server.Close)
		caFile = filepath.Join(GinkgoT().TempDir(), "ca.pem")
		block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
		Expect(os.WriteFile(caFile, pem.EncodeToMemory(block), 0o600)).To(Succeed())
	})

	get := func(ctx SpecContext, o client.Options) error {
		GinkgoHelper()
		_, err := newClient(o).Get(ctx, meshes)
		return err
	}

	It("trusts what --ca-cert-file names", func(ctx SpecContext) {
		Expect(get(ctx, client.Options{Address: server.URL, CACertFile: caFile})).To(Succeed())
	})

	It("trusts nobody else", func(ctx SpecContext) {
		Expect(get(ctx, client.Options{Address: server.URL})).To(MatchError(
			server.URL + ": the host's certificate is signed by nobody that this machine trusts; " +
				"name the file with the certificate that signed it by --ca-cert-file or KUMA_MIRROR_CA_CERT_FILE"))
	})

	It("wants a certificate for the address", func(ctx SpecContext) {
		address := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
		Expect(get(ctx, client.Options{Address: address, CACertFile: caFile})).To(MatchError(And(
			ContainSubstring("the host's certificate is not for localhost"), ContainSubstring("use a name or address of the certificate"))))
	})

	It("is on both sides, or on none", func(ctx SpecContext) {
		plain := httptest.NewServer(answer(200, "application/json", `{}`))
		DeferCleanup(plain.Close)
		Expect(get(ctx, client.Options{Address: strings.Replace(plain.URL, "http:", "https:", 1)})).To(MatchError(And(
			ContainSubstring("the host does not speak TLS"), ContainSubstring("use --address "+plain.URL))))
		Expect(get(ctx, client.Options{Address: strings.Replace(server.URL, "https:", "http:", 1)})).To(MatchError(
			"the host speaks TLS; use --address " + server.URL))
	})
})

var _ = Describe("backups", func() {
	content := bytes.Repeat([]byte("store"), 100_000)

	It("are saved whole", func(ctx SpecContext) {
		c := serve(func(w http.ResponseWriter, r *http.Request) {
			Expect(r.Method + " " + r.URL.Path).To(Equal("GET /backup"))
			_, _ = w.Write(content)
		})
		var got bytes.Buffer
		var last int64
		Expect(c.Backup(ctx, &got, func(n int64) { last = n })).To(BeEquivalentTo(len(content)))
		Expect(got.Bytes()).To(Equal(content))
		Expect(last).To(BeEquivalentTo(len(content)))
	})

	It("are not, where the host breaks off", func(ctx SpecContext) {
		c := serve(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(content)
			panic(http.ErrAbortHandler)
		})
		_, err := c.Backup(ctx, io.Discard, nil)
		Expect(err).To(MatchError(ContainSubstring("the host ended the connection")))
	})

	It("may take longer than the timeout, as long as they go on", func(ctx SpecContext) {
		const timeout = 2 * time.Second
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			ticker := time.NewTicker(timeout / 4)
			defer ticker.Stop()
			for range 5 {
				<-ticker.C
				_, _ = w.Write([]byte("x"))
				w.(http.Flusher).Flush()
			}
		}))
		DeferCleanup(server.Close)
		c := newClient(client.Options{Address: server.URL, Timeout: timeout})
		Expect(c.Backup(ctx, io.Discard, nil)).To(BeEquivalentTo(5))
	})

	It("are given up where they stop", func(ctx SpecContext) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}))
		DeferCleanup(server.Close)
		c := newClient(client.Options{Address: server.URL, Timeout: 50 * time.Millisecond})
		_, err := c.Backup(ctx, io.Discard, nil)
		Expect(err).To(MatchError(ContainSubstring("no answer within 50ms")))
	})

	It("are sent whole", func(ctx SpecContext) {
		var got []byte
		c := serve(func(w http.ResponseWriter, r *http.Request) {
			Expect(r.Header.Get("Content-Type")).To(Equal("application/octet-stream"))
			got, _ = io.ReadAll(r.Body)
			answer(200, "application/json", fmt.Sprintf(`{"replaced":{"Mesh":%d},"restored":{"Dataplane":2}}`, len(r.URL.Query()["force"])))(w, r)
		})
		restored := func(replaced int) catalog.Restored {
			return catalog.Restored{Replaced: catalog.Counts{api.KindMesh: replaced}, Restored: catalog.Counts{api.KindDataplane: 2}}
		}
		Expect(c.Restore(ctx, bytes.NewReader(content), int64(len(content)), true, nil)).To(Equal(restored(1)))
		Expect(got).To(Equal(content))
		Expect(c.Restore(ctx, bytes.NewReader(content), -1, false, nil)).To(Equal(restored(0)), "of a length that is not known")
		Expect(got).To(Equal(content))
	})

	It("do not replace what a host has, and say what that is", func(ctx SpecContext) {
		c := serve(answer(409, "application/problem+json", `{"title":"Could not restore","detail":"no","stored":{"Mesh":2}}`))
		_, err := c.Restore(ctx, bytes.NewReader(content), int64(len(content)), false, nil)
		var refused *client.Error
		Expect(errors.As(err, &refused)).To(BeTrue())
		Expect(refused.Stored).To(Equal(catalog.Counts{api.KindMesh: 2}))
	})

	It("may take a host longer than the timeout once it has all of them", func(ctx SpecContext) {
		const timeout = 300 * time.Millisecond
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-time.After(2 * timeout)
			answer(200, "application/json", `{}`)(w, r)
		}))
		DeferCleanup(server.Close)
		_, err := newClient(client.Options{Address: server.URL, Timeout: timeout}).Restore(ctx, bytes.NewReader(content), -1, false, nil)
		Expect(err).NotTo(HaveOccurred())
	})

	DescribeTable("that are sent whole, and of which no answer comes, may be restored", func(ctx SpecContext, message string, then func(*http.Request)) {
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			then(r)
		}))
		DeferCleanup(server.Close)
		_, err := newClient(client.Options{Address: server.URL, Timeout: 100 * time.Millisecond}).Restore(ctx, bytes.NewReader(content), -1, false, nil)
		Expect(err).To(MatchError(And(ContainSubstring(message),
			HaveSuffix("; all of the backup was sent, and it may have been restored: see what the host has before you try again"))))
	},
		Entry("in time", "no answer within 1s", func(r *http.Request) { <-r.Context().Done() }),
		Entry("ever", "EOF", func(*http.Request) { panic(http.ErrAbortHandler) }),
	)

	It("are refused without waiting for what is not read yet", func(ctx SpecContext) {
		c := serve(answer(401, "application/json", `{"title":"No"}`))
		never, end := io.Pipe() // as a terminal where nobody types
		DeferCleanup(end.Close)
		done := make(chan error, 1)
		go func() {
			_, err := c.Restore(ctx, never, -1, false, nil)
			done <- err
		}()
		Eventually(done).WithTimeout(5 * time.Second).Should(Receive(MatchError(HavePrefix("No; name the file with the token"))))
	})

	It("that cannot be read say so", func(ctx SpecContext) {
		c := serve(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
		_, err := c.Restore(ctx, io.MultiReader(strings.NewReader("x"), broken{}), -1, false, nil)
		Expect(err).To(MatchError("the disk is broken"))
	})
})

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the disk is broken") }
