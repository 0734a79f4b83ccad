// Package api is what the outside sees of the server: HTTP requests come in, JSON, files and a live channel go out.
//
// Every route says in one table (access.go) who may call it; a route that is not in the table answers nobody. Handlers
// are typed: the OpenAPI document, validation and the errors (RFC 9457) come from the same Go types. Nothing here
// knows SQL, packets or plugins; it asks the kernel and, through the small interfaces of Config, the services.
package api
