package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// writeJSON answers with a body. The error is a body that cannot be written as
// JSON, of which nothing is written then.
func writeJSON(w http.ResponseWriter, status int, body any) error {
	return writeJSONAs(w, "application/json", status, body)
}

func writeJSONAs(w http.ResponseWriter, contentType string, status int, body any) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	// As Kuma: a link in `next` stays readable, and a person can read it all.
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(body); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(out.Len()))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// What fails here is the client's connection.
	_, _ = w.Write(out.Bytes())
	return nil
}
