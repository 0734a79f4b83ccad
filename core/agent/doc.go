// Package agent is the program that runs on every watched machine. It enrols once with a token, keeps its own key,
// fetches from its server what it should run, verifies every plugin against its own root of trust and its owner's
// ceiling, runs them, and sends what they measure. What it has goes to a durable queue first: it goes on working while
// the server or the registry is away, and starts without either.
//
// One goroutine each: measuring, discovering, capturing, sending, fetching the configuration and orders, reporting, keeping the
// registry's metadata fresh, and serving the page on loopback. Run starts them and stops them in order.
package agent
