// Package repocheck holds the rules of the repository as tests: which package may import which, what may be linked
// into which program, and what every plugin folder must contain. Each rule carries its reason, and a fixture that
// breaks it, so that a rule which can no longer fail is noticed.
package repocheck
