package problem

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, httptest.NewRequest(http.MethodGet, "/v1/x?y=z", nil), http.StatusNotFound, errors.New(`no "x"`))
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"title": "Not Found", "status": 404.0, "detail": `no "x"`, "instance": "/v1/x"}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	if w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Error(w.Code, w.Header())
	}
}

func TestJSON(t *testing.T) {
	w := httptest.NewRecorder()
	JSON(w, http.StatusAccepted, map[string]string{"job": "1"})
	if w.Code != http.StatusAccepted || w.Body.String() != `{"job":"1"}` || w.Header().Get("Content-Type") != "application/json" {
		t.Error(w.Code, w.Body, w.Header())
	}
	w = httptest.NewRecorder()
	JSON(w, http.StatusOK, func() {})
	if w.Code != http.StatusInternalServerError {
		t.Error("what cannot be written is answered with", w.Code)
	}
}
