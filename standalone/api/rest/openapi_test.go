package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// document is the OpenAPI document, checked.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(openAPI)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(loader.Context)
})

var _ = Describe("the OpenAPI document", func() {
	It("is valid", func() {
		doc, err := document()
		Expect(err).NotTo(HaveOccurred())
		Expect(doc.OpenAPI).To(HavePrefix("3.1."))
	})

	It("has every path and method of the API, and no others", func() {
		doc, err := document()
		Expect(err).NotTo(HaveOccurred())
		operations := func(paths map[string][]string) []string {
			var all []string
			for path, methods := range paths {
				for _, method := range methods {
					all = append(all, method+" "+path)
				}
			}
			return all
		}
		documented, served := map[string][]string{}, map[string][]string{}
		for path, item := range doc.Paths.Map() {
			if item.Get != nil && slices.Contains(item.Get.Tags, "operations") {
				continue // the program's, beside this handler
			}
			documented[path] = slices.Collect(maps.Keys(item.Operations()))
		}
		for path, methods := range (&server{}).routes() {
			served[path] = slices.Collect(maps.Keys(methods))
		}
		Expect(operations(documented)).To(ConsistOf(operations(served)))
	})

	It("gives every operation a name of its own, a summary, a tag and an answer to errors", func() {
		doc, err := document()
		Expect(err).NotTo(HaveOccurred())
		seen := map[string]string{}
		var tags []string
		for _, tag := range doc.Tags {
			tags = append(tags, tag.Name)
		}
		for path, item := range doc.Paths.Map() {
			for method, op := range item.Operations() {
				here := method + " " + path
				Expect(op.OperationID).NotTo(BeEmpty(), here)
				Expect(seen).NotTo(HaveKey(op.OperationID), here)
				seen[op.OperationID] = here
				Expect(op.Summary).NotTo(BeEmpty(), here)
				Expect(op.Tags).To(HaveLen(1), here)
				Expect(tags).To(ContainElement(op.Tags[0]), here)
				Expect(op.Responses.Default()).NotTo(BeNil(), here)
				if op.RequestBody != nil && op.Tags[0] != "operations" {
					Expect(op.Responses.Map()).To(And(HaveKey("400"), HaveKey("413"), HaveKey("415")), here)
				}
			}
		}
	})
})

// checked is a transport that holds every exchange against the document: what
// the server takes has to be allowed, what it answers has to be described.
type checked struct{ next http.RoundTripper }

func (c checked) RoundTrip(r *http.Request) (*http.Response, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	var sent []byte
	if r.Body != nil {
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(got))
	if err := conforms(doc, r, sent, resp, got); err != nil {
		// As text: the error itself has all of the document in it.
		return nil, fmt.Errorf("%s %s → %d %s\nis not as in openapi.yaml: %s", r.Method, r.URL, resp.StatusCode, got, err.Error())
	}
	return resp, nil
}

func conforms(doc *openapi3.T, r *http.Request, sent []byte, resp *http.Response, got []byte) error {
	route, parameters := find(doc, r)
	if route == nil {
		// Nobody's path or method: all that is said of it is an error.
		if resp.StatusCode < 400 && r.Method != http.MethodOptions {
			return errors.New("there is no such path and method in it")
		}
		return nil
	}
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(sent))
	input := &openapi3filter.RequestValidationInput{
		Request:    again,
		PathParams: parameters,
		Route:      route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true,
			MultiError:            true,
			AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc,
		},
	}
	if resp.StatusCode < 400 {
		if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
			return fmt.Errorf("the server took it: %w", err)
		}
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input,
		Status:                 resp.StatusCode,
		Header:                 resp.Header,
		Body:                   io.NopCloser(bytes.NewReader(got)),
		Options:                input.Options,
	})
}

// find returns the operation of a request; nil where there is none. Of two
// paths that fit, the one with fewer parameters is meant.
func find(doc *openapi3.T, r *http.Request) (*routers.Route, map[string]string) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var found *routers.Route
	var parameters map[string]string
	for path, item := range doc.Paths.Map() {
		values, ok := match(path, strings.TrimSuffix(r.URL.EscapedPath(), "/"))
		op := item.GetOperation(method)
		if !ok || op == nil || found != nil && len(parameters) <= len(values) {
			continue
		}
		found = &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op}
		parameters = values
	}
	return found, parameters
}

func match(template, path string) (map[string]string, bool) {
	want, have := strings.Split(strings.TrimSuffix(template, "/"), "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	values := map[string]string{}
	for i, segment := range want {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			values[strings.TrimSuffix(name, "}")] = have[i]
		} else if segment != have[i] {
			return nil, false
		}
	}
	return values, true
}
