package api

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

// A full disk is not the fault of who sends: they are to keep what they have and come again.
func TestAFullDiskIsAskedAgainLater(t *testing.T) {
	err := describe(fmt.Errorf("append: %w", fmt.Errorf("/var/lib/picket/x.duckdb: %w: no space", store.ErrFull)))
	var status huma.StatusError
	var headers huma.HeadersError
	if !errors.As(err, &status) || status.GetStatus() != http.StatusServiceUnavailable || status.Error() != "on the server the disk is full; free some space" {
		t.Fatalf("%#v", err)
	}
	if !errors.As(err, &headers) || headers.GetHeaders().Get("Retry-After") != "30" {
		t.Errorf("no time to come again in %#v", err)
	}
}
