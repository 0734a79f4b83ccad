package registrytest

import "github.com/picketwatch/picket/registry/internal/durable"

// OnStep has f asked before each step that the registry's packages take on the disk, named by what is done and to which
// file; the step fails with what f returns. Tests of what stands on a registry client put a full disk or a sudden death
// there, at each step in turn. Call restore at the end. One at a time.
func OnStep(f func(step, path string) error) (restore func()) {
	return durable.Intercept(func(op durable.Op, path string) error { return f(string(op), path) })
}
