/* When the next request is due, where requests come at a rate and not as fast as answers do. */
#ifndef PACE_H
#define PACE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

enum { LOOK_MS = 20 };

static uint64_t interval, due, latest, withheld;        /* nanoseconds; an interval of 0: no pace */
static volatile sig_atomic_t is_told_to_end;

static void on_terminate(int number)
{
	(void)number;
	is_told_to_end = 1;
}

/* Tells whether a request is due at `time`, and counts it as sent; notes by how much it comes late. */
static bool is_due(uint64_t time)
{
	if (!interval || time < due)
		return false;
	if (time - due > latest)
		latest = time - due;
	due += interval;
	return true;
}

/* Returns for how many milliseconds nothing is due. */
static int idle_ms(uint64_t time)
{
	uint64_t wait = due > time ? (due - time + 999999) / 1000000 : 0;

	return interval && wait < LOOK_MS ? (int)wait : LOOK_MS;
}

#endif
