/*
 * floor - an agent that does nothing but answer "allow": what the system calls alone cost.
 *
 * One thread, epoll. It reads as much as there is, walks over every argument of every NOTIFY without looking at the
 * values, and answers all whole frames of a read with one write. Nobody judges faster, so this is what our agent is
 * compared with, in the same run on the same machine.
 *
 * It is a yardstick and trusts its peer: lengths inside a frame are not checked.
 *
 * It sets one variable, or as many as it is told to, so that one can see what HAProxy pays for them: eight are those
 * of our agent's allow here, nine all of the contract's but `path`.
 *
 * Build: cc -O2 -Wall -Wextra -o floor floor.c      Run: floor PORT [VARIABLES]
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HAPROXY_HELLO = 1, NOTIFY = 3 };
enum { NULL_VALUE, BOOLEAN, IPV4 = 6, IPV6, STRING, BINARY };
enum { VARIABLES = 9 };

struct peer {
	int fd;
	size_t held;
	unsigned char in[1 << 18];
};

static unsigned char out[1 << 20];

/* version 2.0, max-frame-size 16380, capabilities pipelining */
static const unsigned char hello[] =
	"\0\0\0\x40\x65\0\0\0\1\0\0\x07version\x08\x03" "2.0\x0emax-frame-size\x03\xfc\xf0\x06"
	"\x0c" "capabilities\x08\x0apipelining";

/* set-var txn.NAME = value, the first of them the verdict */
static const struct { const char *bytes; size_t size; } variables[VARIABLES] = {
#define SET_VAR(action) { action, sizeof action - 1 }
	SET_VAR("\1\3\2\7verdict\x08\5allow"),
	SET_VAR("\1\3\2\6status\2\xc8"),
	SET_VAR("\1\3\2\6reason\x08\2ok"),
	SET_VAR("\1\3\2\4rule\x08\7svc-123"),
	SET_VAR("\1\3\2\x08identity\x08\7unit-01"),
	SET_VAR("\1\3\2\x08revision\x08\x0c" "0123456789ab"),
	SET_VAR("\1\3\2\x09" "days_left\2\x64"),
	SET_VAR("\1\3\2\5route\x08\x0cinternal_api"),
	SET_VAR("\1\3\2\6shadow\x08\0"),
};

static unsigned char actions[512];
static size_t actions_size;

static const unsigned char *varint(const unsigned char *p, uint64_t *value)
{
	int shift = 4;

	*value = *p++;
	if (*value >= 240)
		do {
			*value += (uint64_t)*p << shift;
			shift += 7;
		} while (*p++ >= 128);
	return p;
}

static const unsigned char *string(const unsigned char *p)
{
	uint64_t length;

	p = varint(p, &length);
	return p + length;
}

static void walk(const unsigned char *p, const unsigned char *end)
{
	uint64_t ignored;

	p = string(p);
	for (int left = *p++; left > 0 && p < end; left--) {
		p = string(p);
		switch (*p++ & 15) {
		case NULL_VALUE: case BOOLEAN: break;
		case IPV4: p += 4; break;
		case IPV6: p += 16; break;
		case STRING: case BINARY: p = string(p); break;
		default: p = varint(p, &ignored);
		}
	}
}

/* Answers one NOTIFY, whose ids begin at `ids`; returns the new end of the answers. */
static size_t answer(const unsigned char *ids, const unsigned char *end, size_t written)
{
	uint64_t ignored;
	const unsigned char *payload = varint(varint(ids, &ignored), &ignored);
	size_t ids_size = (size_t)(payload - ids);
	uint32_t length = htonl((uint32_t)(5 + ids_size + actions_size));
	unsigned char *to = out + written;

	walk(payload, end);
	memcpy(to, &length, 4);
	memcpy(to + 4, "\x67\0\0\0\1", 5);
	memcpy(to + 9, ids, ids_size);
	memcpy(to + 9 + ids_size, actions, actions_size);
	return written + 9 + ids_size + actions_size;
}

/* Answers every whole frame that is held; false when the peer does not take the answers. */
static int serve(struct peer *peer)
{
	size_t at = 0, written = 0;

	while (peer->held - at >= 4) {
		const unsigned char *frame = peer->in + at + 4;
		uint32_t length;
		memcpy(&length, peer->in + at, 4);
		length = ntohl(length);
		if (peer->held - at - 4 < length)
			break;
		if (frame[0] == NOTIFY) {
			written = answer(frame + 5, frame + length, written);
		} else if (frame[0] == HAPROXY_HELLO) {
			memcpy(out + written, hello, sizeof hello - 1);
			written += sizeof hello - 1;
		}
		at += 4 + length;
	}
	memmove(peer->in, peer->in + at, peer->held - at);
	peer->held -= at;
	return !written || send(peer->fd, out, written, MSG_NOSIGNAL) == (ssize_t)written;
}

static void watch(int epoll, int fd, void *tag)
{
	struct epoll_event event = { EPOLLIN, { .ptr = tag } };

	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void greet(int epoll, int listener)
{
	struct peer *peer = calloc(1, sizeof *peer);

	peer->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	watch(epoll, peer->fd, peer);
}

static void hear(struct peer *peer)
{
	ssize_t size = recv(peer->fd, peer->in + peer->held, sizeof peer->in - peer->held, 0);

	if (size > 0) {
		peer->held += (size_t)size;
		if (serve(peer))
			return;
	}
	close(peer->fd);
	free(peer);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);

	int told = argc == 3 ? atoi(argv[2]) : 1;

	if (argc < 2 || argc > 3 || told < 1 || told > VARIABLES)
		return fputs("usage: floor PORT [VARIABLES]\n", stderr), 2;
	for (int i = 0; i < told; i++) {
		memcpy(actions + actions_size, variables[i].bytes, variables[i].size);
		actions_size += variables[i].size;
	}
	address.sin_port = htons((uint16_t)atoi(argv[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (bind(listener, (void *)&address, sizeof address) || listen(listener, 256))
		return perror("floor"), 1;
	watch(epoll, listener, NULL);
	for (;;) {
		struct epoll_event events[256];
		int ready = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < ready; i++)
			if (events[i].data.ptr)
				hear(events[i].data.ptr);
			else
				greet(epoll, listener);
	}
}
