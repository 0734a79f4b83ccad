// Package e2e tests the whole system: it starts the real programs from bin/ with real plugins and talks to them as
// people and scripts do. The tests run with PICKET_E2E=1 after `make build`; `make e2e` does both.
package e2e
