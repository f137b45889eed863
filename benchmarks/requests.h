/* What is asked: certificates from files, requests from lines, and what differs in every frame. */
#ifndef REQUESTS_H
#define REQUESTS_H

#include <errno.h>

#include "wire.h"

enum { SERIAL = 12, LINE = 4096 };

/*
 * A payload is HEAD, a certificate, and the request's own rest, in which a serial number may stand in the path and one
 * in the unique id: both differ in every frame.
 */
struct request { struct bytes rest; size_t certificate, path_serial, id_serial; bool allow, is_fresh; };
struct pack { struct bytes *items; size_t count; };

static struct bytes head;
static struct pack usual, fresh;
static struct request *requests;
static size_t request_count, next_request, next_fresh;
static bool sends_all, checks_verdicts = true;

/* A file of certificates: each is four bytes of length, big endian, and its DER. */
static struct pack read_pack(const char *path)
{
	struct pack pack = { 0 };
	uint32_t length;
	FILE *file = fopen(path, "rb");

	if (!file)
		die("%s: %s", path, strerror(errno));
	while (fread(&length, 4, 1, file) == 1) {
		uint8_t der[MAX_FRAME];
		struct bytes item = { 0 };
		length = ntohl(length);
		if (length > sizeof der || fread(der, length, 1, file) != 1)
			die("%s is no file of certificates", path);
		add_string(&item, der, length);
		pack.items = grown(pack.items, (pack.count + 1) * sizeof item);
		pack.items[pack.count++] = item;
	}
	fclose(file);
	return pack;
}

/* Returns where the run of '#' in the last string of `b` begins, or 0. */
static size_t serial_at(const struct bytes *b, const char *text)
{
	const char *run = strchr(text, '#');

	if (!run)
		return 0;
	if (strspn(run, "#") != SERIAL)
		die("a serial number is written as %d times '#', not as in %s", SERIAL, text);
	return b->size - strlen(run);
}

static void read_request(char *line, size_t number)
{
	char certificate[32], method[32], path[LINE], source[64], verdict[8];
	struct request request = { 0 };
	struct bytes *b = &request.rest;
	uint8_t address[4];

	if (sscanf(line, "%31s %31s %4095s %63s %7s", certificate, method, path, source, verdict) != 5 ||
	    inet_pton(AF_INET, source, address) != 1)
		die("line %zu is not CERTIFICATE METHOD PATH SOURCE VERDICT", number);
	request.is_fresh = !strcmp(certificate, "*");
	request.certificate = strtoul(certificate, NULL, 10);
	if (request.is_fresh ? !fresh.count : request.certificate >= usual.count)
		die("line %zu names a certificate that there isn't", number);
	request.allow = !strcmp(verdict, "allow");
	add_key(b, "used", T_BOOL | TRUE_FLAG);
	add_key(b, "verify", T_INT64);
	add_varint(b, 0);
	if (sends_all)
		add_key(b, "resumed", T_BOOL);
	add_key(b, "src", T_IPV4);
	add(b, address, sizeof address);
	add_text(b, "method", method);
	add_text(b, "path", path);
	request.path_serial = serial_at(b, path);
	if (sends_all) {
		const char *id = "7f000001-01bb-4f7b-0a69-############";
		add_text(b, "host", "bench.example.test");
		add_text(b, "sni", "bench.example.test");
		add_text(b, "tls", "TLSv1.3");
		add_text(b, "id", id);
		request.id_serial = serial_at(b, id);
	}
	requests = grown(requests, (request_count + 1) * sizeof request);
	requests[request_count++] = request;
}

static void read_requests(const char *path)
{
	char line[2 * LINE];
	FILE *file = fopen(path, "r");

	if (!file)
		die("%s: %s", path, strerror(errno));
	for (size_t number = 1; fgets(line, sizeof line, file); number++)
		read_request(line, number);
	fclose(file);
	if (!request_count)
		die("%s is empty", path);
	add_string(&head, "authorize", 9);
	add_byte(&head, sends_all ? 11 : 6);
	add_key(&head, "cert", T_BINARY);
}

static void write_serial(uint8_t *to)
{
	static uint64_t serial;

	if (!serial)    /* so that no two runs against one agent share any */
		serial = nanoseconds(CLOCK_REALTIME) / 1000 % (1ull << 40) << 8;
	serial++;
	for (int digit = SERIAL - 1; digit >= 0; digit--)
		to[SERIAL - 1 - digit] = (uint8_t)"0123456789abcdef"[serial >> (4 * digit) & 15];
}

/* Appends the next request, and returns which it was. */
static const struct request *add_request(struct bytes *b)
{
	const struct request *request = &requests[next_request];
	const struct bytes *certificate = request->is_fresh ? &fresh.items[next_fresh++ % fresh.count]
							    : &usual.items[request->certificate];
	size_t at;

	if (++next_request == request_count)
		next_request = 0;
	add(b, head.p, head.size);
	add(b, certificate->p, certificate->size);
	at = b->size;
	add(b, request->rest.p, request->rest.size);
	if (request->path_serial)
		write_serial(b->p + at + request->path_serial);
	if (request->id_serial)
		write_serial(b->p + at + request->id_serial);
	return request;
}

#endif
