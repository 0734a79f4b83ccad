// Package app recognises application protocols by what they say and runs the parsers that somebody asked for.
//
// # Writing a parser
//
// A protocol lives in a folder of its own below this one and declares itself as a value, Protocol; package all lists them.
// To add one:
//
//  1. Make the folder, say mqtt, with a package comment that names the specification and says what is not read.
//  2. Write the recogniser: a function of the first bytes of one direction. It answers No, More (too few bytes to tell),
//     Likely (it fits, but little speaks for it) or Sure. It looks at the content only; ports are the engine's business,
//     and only to choose between protocols that say Likely. Give First when the first byte narrows it down: then other
//     traffic never pays for the call.
//  3. Write the facts as plain structs, one per kind (Connect, Publish), with the unit in the comment where there is one.
//     Everything in a fact is valid during Emit only, so a parser may use the same struct and the same buffers again.
//  4. Write the parser, StreamParser or DatagramParser. The engine uses a parser again for the next flow: Start must forget
//     everything of the flow before, and keep the memory.
//  5. Add the value to package all, a fuzz target, a golden test (apptest.Golden on a capture, apptest.Tshark against
//     tshark's fields) and tests of the bad way: cut off in the middle, missing bytes, lengths that lie.
//
// The rules of parsers, for the wire is hostile:
//
//   - Bound before reading: every length is checked against what is there and against a limit of the parser's own. What is
//     left out is told to Flow.Cut.
//   - No recursion without a bound, no loop whose end the wire decides alone.
//   - Nothing is kept per flow beyond a few kilobytes; Frames and Lines hold an unfinished message within a limit.
//   - No allocation per message in the steady state, except for strings that are facts.
//   - After missing bytes a parser finds its place again or returns Done; it never guesses.
//   - A parser that will learn nothing more returns Done at once. Then the flow's bytes are no longer put in order, and its
//     memory is given back.
//
// # What it costs
//
// A flow is looked at until its protocol is known: at most 4 KiB of each direction of a TCP connection, 6 datagrams of a UDP
// flow. After that a flow whose facts nobody asked for costs one comparison per packet.
package app
