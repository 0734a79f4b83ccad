package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

// Only who may publish here may take a long time over it: anybody can send something to the registry.
func TestStrangersAreNotWaitedFor(t *testing.T) {
	patient := false
	e := gin.New()
	e.Use(bounded)
	look := func(c *gin.Context) { _, patient = c.Request.Body.(*patientBody) }
	e.POST(registryPath, look)
	e.POST(publishPath, look)
	for path, want := range map[string]bool{publishPath: true, "/registry/v1/receipts": false, "/registry/v1/releases": false} {
		e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, strings.NewReader("x")))
		if patient != want {
			t.Errorf("%s: patient %t", path, patient)
		}
	}
}
