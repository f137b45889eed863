/* How long answers took. */
#ifndef LATENCY_H
#define LATENCY_H

#include <stddef.h>
#include <stdint.h>

/* A histogram with 128 steps for each power of two, in nanoseconds: percentiles are right to within 1 %. */
#define STEPS 7
static uint64_t histogram[64 << STEPS], slowest, slow, slow_limit = UINT64_MAX;

static size_t step_of(uint64_t ns)
{
	if (ns < (1u << STEPS))
		return (size_t)ns;
	int power = 63 - __builtin_clzll(ns) - STEPS;
	return ((size_t)(power + 1) << STEPS) + (size_t)((ns >> power) & ((1u << STEPS) - 1));
}

static double microseconds_of(size_t step)
{
	if (step < (1u << STEPS))
		return (double)step / 1000;
	unsigned power = (unsigned)(step >> STEPS) - 1;
	return (double)(((step & ((1u << STEPS) - 1)) + (1u << STEPS)) << power) / 1000;
}

static double percentile(double share, uint64_t total)
{
	uint64_t seen = 0, wanted = (uint64_t)((double)total * share);

	for (size_t step = 0; total && step < sizeof histogram / sizeof *histogram; step++)
		if ((seen += histogram[step]) > wanted)
			return microseconds_of(step);
	return 0;
}

#endif
