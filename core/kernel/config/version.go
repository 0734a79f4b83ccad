// Package config holds what a Picket program knows about itself and reads its host's configuration files.
package config

// Version and Release are set by the linker. Release is "true" only in distributed builds, which refuse every
// development root of trust.
var (
	Version = "0.1.0-dev"
	Release = "false"
	// RootSHA256 pins the root of trust of a distributed build: the hash of the root.json that ships beside it.
	RootSHA256 = ""
)

// IsRelease reports whether this is a distributed build.
func IsRelease() bool { return Release == "true" }
