// Package app recognises application protocols by what they say and runs the parsers that somebody asked for.
//
// The flow table shows an Engine every packet of a flow until the engine wants no more of it. The engine puts TCP in order
// (package stream), finds the protocol, gives the flow its name, and hands the bytes to the parser when Config.Facts has
// somebody for its facts.
//
// # Writing a parser
//
// A protocol lives in a folder of its own below this one and declares itself as a value, Protocol; package all lists them.
// ssh is a small one over TCP, ntp a small one over UDP. To add one:
//
//  1. Make the folder, say mqtt, with a package comment that names the specification and says what is not read.
//  2. Write the recogniser: a function of the first bytes of one direction. It answers No, More (too few bytes to tell),
//     Likely (it fits, but little speaks for it) or Sure. It looks at the content only; ports are the engine's business,
//     and only to choose between protocols that fit. Sure needs something that other traffic hardly has: a mark, or
//     several lengths that agree. Where the sides speak differently it uses the direction, so that the engine can correct a
//     wrong guess of who the client is. Give First when the first byte narrows it down: then other traffic never pays for
//     the call.
//  3. Write the facts as plain structs, one per kind (Connect, Publish), with the unit in the comment where there is one.
//     All in a fact is valid during Emit only, so a parser may use the same struct and the same buffers again. Strings are
//     the exception: they stay, and cost an allocation each, so that a message's texts are best made in one buffer and cut
//     from one string (see dns). An attempt to log in is the fact login.Attempt in every protocol; a password is never kept.
//  4. Write the parser, StreamParser or DatagramParser. The engine uses a parser again for the next flow: Start must forget
//     everything of the flow before, and keep the memory. Messages with a length before them come out of Frames, lines out
//     of Lines; Framed is a whole parser for those that are alike in both directions. Parsers of machines say what was done
//     in the words of package ot. Again hands what follows to recognition (STARTTLS), Rename names what runs inside (grpc in http2).
//  5. Add the value to package all, and write the tests: a conversation in pieces of 1, a few and all bytes (apptest.Stream),
//     each message cut off at each byte, lengths that lie, bytes that are missing, a fuzz target (apptest.FuzzStream,
//     apptest.FuzzDatagram), and a comparison with tshark's fields on captures (apptest.Run, apptest.Tshark). A difference
//     that is tshark's is written down in the test with its reason.
//
// The rules of parsers, for the wire is hostile:
//
//   - Bound before reading: every length is checked against what is there and against a limit of the parser's own. What is
//     left out is told to Flow.Cut.
//   - Arithmetic on a byte stays a byte and wraps: b[1:][:b[0]], never b[1:1+b[0]].
//   - No recursion without a bound, no loop whose end the wire decides alone.
//   - Nothing is kept per flow beyond a few kilobytes, an unfinished message aside, which has a limit too.
//   - The bytes that a parser is given are not changed: others read the same packet.
//   - After missing bytes a parser finds its place again or returns Done; it never guesses.
//   - A parser that will learn nothing more returns Done at once. Then the flow's bytes are no longer put in order, and its
//     memory is given back.
//   - A panic is a bug. It ends the reading of its flow, and the capture's figures name it.
//
// # What it costs
//
// A flow is looked at until its protocol is known: at most 4 KiB of each direction of a TCP connection, 6 datagrams of a UDP
// flow. After that a flow whose facts nobody asked for costs one comparison per packet. Config.MaxFlows and Config.Stream
// bound the memory of the flows that are being read; a flow that is given up for that keeps its name and is counted.
package app
