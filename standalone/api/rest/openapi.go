package rest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strconv"
)

// openAPI is the OpenAPI 3.1 document of the API, as YAML.
//
//go:embed openapi.yaml
var openAPI []byte

func (s *server) getOpenAPI(w http.ResponseWriter, r *http.Request) error {
	sum := sha256.Sum256(openAPI)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	header := w.Header()
	header.Set("ETag", etag)
	if notModified(r, etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	header.Set("Content-Type", "application/yaml")
	header.Set("Content-Length", strconv.Itoa(len(openAPI)))
	_, _ = w.Write(openAPI)
	return nil
}
