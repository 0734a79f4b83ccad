package main

// What is said of the process before any code of Go runs.
//
// The monitor of Go's runtime sleeps for 20 µs at a time while the program is at work. What that costs goes down with each of
// those sleeps that is longer. Its thread takes its slack from the one that starts it, so it has to be set here; what this
// program starts inherits it too, until picket-launch sets that of plugins.
//
// The C library keeps a heap for each of many threads, and DuckDB's threads leave each of them half empty: two are enough.

/*
#include <malloc.h>
#include <sys/prctl.h>

__attribute__((constructor)) static void prepare(void) {
	prctl(PR_SET_TIMERSLACK, 500000UL, 0, 0, 0); // 0.5 ms
	mallopt(M_ARENA_MAX, 2);
}
*/
import "C"
