// Package examples holds the test of the examples. Each example is a module of its own below this folder.
package examples
