// Package problem answers requests that failed, as RFC 9457 says, and others with JSON that nobody keeps.
package problem

import (
	"encoding/json"
	"net/http"
)

// Write answers with a problem. What err says is read by strangers.
func Write(w http.ResponseWriter, r *http.Request, code int, err error) {
	send(w, code, "application/problem+json", map[string]any{
		"title": http.StatusText(code), "status": code, "detail": err.Error(), "instance": r.URL.Path,
	})
}

// JSON answers with what is true at this moment only.
func JSON(w http.ResponseWriter, code int, v any) { send(w, code, "application/json", v) }

func send(w http.ResponseWriter, code int, contentType string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	if _, err := w.Write(data); err != nil {
		return // the other end went away
	}
}
