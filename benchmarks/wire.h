/* The wire of SPOP 2.0, as far as a load needs it: bytes that grow, frames out, typed values in. */
#ifndef WIRE_H
#define WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HAPROXY_HELLO = 1, HAPROXY_DISCONNECT = 2, NOTIFY = 3, AGENT_HELLO = 101, ACK = 103 };
enum { T_NULL, T_BOOL, T_INT32, T_UINT32, T_INT64, T_UINT64, T_IPV4, T_IPV6, T_STRING, T_BINARY };
enum { FIN = 1, ABRT = 2, SET_VAR = 1, TRUE_FLAG = 16 };
enum { MAX_FRAME = 16380 };

static void die(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, format, values);
	fputc('\n', stderr);
	exit(2);
}

static void *grown(void *old, size_t size)
{
	void *p = realloc(old, size ? size : 1);

	if (!p)
		die("out of memory");
	return p;
}

static uint64_t nanoseconds(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t))
		return 0;
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now(void) { return nanoseconds(CLOCK_MONOTONIC); }

struct bytes { uint8_t *p; size_t size, room; };

static void add(struct bytes *b, const void *from, size_t size)
{
	if (b->size + size > b->room) {
		b->room = (b->size + size) * 2;
		b->p = grown(b->p, b->room);
	}
	if (size)
		memcpy(b->p + b->size, from, size);
	b->size += size;
}

static void add_byte(struct bytes *b, uint8_t value) { add(b, &value, 1); }

static void add_varint(struct bytes *b, uint64_t value)
{
	if (value < 240) {
		add_byte(b, (uint8_t)value);
		return;
	}
	add_byte(b, (uint8_t)(value | 240));
	for (value = (value - 240) >> 4; value >= 128; value = (value - 128) >> 7)
		add_byte(b, (uint8_t)(value | 128));
	add_byte(b, (uint8_t)value);
}

static void add_string(struct bytes *b, const void *text, size_t size)
{
	add_varint(b, size);
	add(b, text, size);
}

static void add_key(struct bytes *b, const char *name, uint8_t type)
{
	add_string(b, name, strlen(name));
	add_byte(b, type);
}

static void add_text(struct bytes *b, const char *name, const char *value)
{
	add_key(b, name, T_STRING);
	add_string(b, value, strlen(value));
}

static size_t begin_frame(struct bytes *b, uint8_t type, uint64_t stream, uint64_t frame)
{
	const uint8_t head[9] = { 0, 0, 0, 0, type, 0, 0, 0, FIN };
	size_t at = b->size;

	add(b, head, sizeof head);
	add_varint(b, stream);
	add_varint(b, frame);
	return at;
}

static void end_frame(struct bytes *b, size_t at)
{
	uint32_t length = htonl((uint32_t)(b->size - at - 4));

	memcpy(b->p + at, &length, 4);
}

static bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	const uint8_t *p = *at;
	uint8_t byte = 128;

	if (p >= end)
		return false;
	*value = *p++;
	if (*value >= 240)
		for (unsigned shift = 4; byte >= 128; shift += 7) {
			if (p >= end || shift > 63)
				return false;
			byte = *p++;
			*value += (uint64_t)byte << shift;
		}
	*at = p;
	return true;
}

static bool get_string(const uint8_t **at, const uint8_t *end, const uint8_t **text, uint64_t *size)
{
	if (!get_varint(at, end, size) || (uint64_t)(end - *at) < *size)
		return false;
	*text = *at;
	*at += *size;
	return true;
}

/* Steps over a typed value; *text and *size are set where it is a string. */
static bool get_value(const uint8_t **at, const uint8_t *end, const uint8_t **text, uint64_t *size)
{
	uint64_t ignored;

	*text = NULL;
	if (*at >= end)
		return false;
	switch (*(*at)++ & 15) {
	case T_NULL: case T_BOOL:
		return true;
	case T_INT32: case T_UINT32: case T_INT64: case T_UINT64:
		return get_varint(at, end, &ignored);
	case T_STRING: case T_BINARY:
		return get_string(at, end, text, size);
	default:
		return false;   /* no agent of ours sends addresses */
	}
}

struct text { const uint8_t *p; uint64_t size; };

static bool is(const struct text *text, const char *value)
{
	return text->p && text->size == strlen(value) && !memcmp(text->p, value, text->size);
}

/* Finds verdict and reason among the actions of an ACK; false when they can't be read. */
static bool read_actions(const uint8_t *p, const uint8_t *end, struct text *verdict, struct text *reason)
{
	while (p < end) {
		struct text name, value = { 0 };
		if (end - p < 3 || p[0] != SET_VAR || p[1] != 3)
			return false;
		p += 3;
		if (!get_string(&p, end, &name.p, &name.size) || !get_value(&p, end, &value.p, &value.size))
			return false;
		if (is(&name, "verdict"))
			*verdict = value;
		else if (is(&name, "reason"))
			*reason = value;
	}
	return true;
}

#endif
