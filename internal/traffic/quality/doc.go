// Package quality holds the first-party detectors and passive discovery to what the shared captures are known to contain. Its
// tests run the real engine and the real plugins over ../shared/pcaps and compare docs/detection-results.md and
// docs/discovery-results.md with what comes out; go test -update writes these files. There is nothing in it but tests.
package quality
