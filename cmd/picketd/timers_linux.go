package main

// The monitor of Go's runtime sleeps for 20 µs at a time while the program is at work. What that costs goes down with each of
// those sleeps that is longer. Its thread takes its slack from the one that starts it, before any code of Go can set it; what
// this program starts inherits it too, until picket-launch sets that of plugins.

/*
#include <sys/prctl.h>

__attribute__((constructor)) static void late_timers(void) { prctl(PR_SET_TIMERSLACK, 500000UL, 0, 0, 0); } // 0.5 ms
*/
import "C"
