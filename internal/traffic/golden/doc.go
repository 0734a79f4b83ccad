// Package golden checks the features of flows against a second implementation, in Python with numpy, that shares nothing
// with the engine but docs/features.md: its own reader (captures.py), its own decoder (packets.py), the formulas in their
// plainest form (features.py). Its test also sends the features of every shared capture through the runtimes of plugins.
package golden
