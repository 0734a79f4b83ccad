// Command agent is a static program with one dependency, for the gates to look at.
package main

import "github.com/CycloneDX/cyclonedx-go"

func main() { println(cyclonedx.NewBOM().SpecVersion) }
