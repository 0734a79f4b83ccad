// Package processtest holds the test that runs the first-party plugins as production does: each is built, started as a
// process of its own, and gets only what its plugin.yaml asks for. It has no code of its own, because plugins do not
// import the host's side of the SDK.
package processtest
