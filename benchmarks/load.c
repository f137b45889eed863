/*
 * load - plays HAProxy: keeps NOTIFY frames in flight towards an agent, checks every answer, and measures.
 *
 * One thread, epoll, a closed loop: each of C connections has W frames in flight, and the next goes out when an answer
 * comes in; or, with a rate, whenever one is due, on the next connection that has less than W in flight. Every ACK must belong to a frame in flight on its connection, and its `verdict` must be the one that the
 * file of requests tells. What is counted begins after the warm-up; CPU time of the watched processes is read at both
 * ends of the same window.
 *
 * Build: cc -O2 -Wall -Wextra -o load load.c       Run: load --help
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "latency.h"
#include "pace.h"
#include "requests.h"
#include "wire.h"

enum { ROOM = 1 << 18, MAX_PIDS = 64 };

/* ------------------------------------------------------------------------------------------------- connections */

struct slot { uint64_t stream, sent; bool busy, allow; };

struct peer {
	int fd;
	bool is_open, is_ready, waits_to_write;
	struct slot *slots;
	uint32_t *unused, unused_count;
	uint64_t sequence;
	struct bytes out;
	size_t written, held;
	uint8_t *in;
};

static struct {
	uint64_t acks, allowed, denied;
	uint64_t unmatched, malformed, wrong_verdict, without_verdict, closed, lost, overdue;
} seen;

static int epoll, open_count;
static unsigned window = 1, slot_bits;
static uint64_t issued, limit = UINT64_MAX;
static bool sends, counts;

static void end_peer(struct peer *peer)
{
	if (!peer->is_open)
		return;
	for (unsigned i = 0; i < window; i++)
		seen.lost += peer->slots[i].busy;
	peer->is_open = false;
	open_count--;
	close(peer->fd);
}

static void want_to_write(struct peer *peer, bool wants)
{
	struct epoll_event event = { wants ? EPOLLIN | EPOLLOUT : EPOLLIN, { .ptr = peer } };

	if (peer->waits_to_write != wants)
		epoll_ctl(epoll, EPOLL_CTL_MOD, peer->fd, &event);
	peer->waits_to_write = wants;
}

static void flush(struct peer *peer)
{
	while (peer->written < peer->out.size) {
		ssize_t size = send(peer->fd, peer->out.p + peer->written, peer->out.size - peer->written, MSG_NOSIGNAL);
		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0 && errno == EAGAIN) {
			want_to_write(peer, true);
			return;
		}
		if (size < 0) {
			seen.closed++;
			end_peer(peer);
			return;
		}
		peer->written += (size_t)size;
	}
	peer->out.size = peer->written = 0;
	want_to_write(peer, false);
}

static void issue(struct peer *peer, uint64_t time)
{
	uint32_t number = peer->unused[--peer->unused_count];
	struct slot *slot = &peer->slots[number];

	issued++;
	slot->stream = peer->sequence++ << slot_bits | number;
	size_t at = begin_frame(&peer->out, NOTIFY, slot->stream, 1);
	slot->allow = add_request(&peer->out)->allow;
	slot->busy = true;
	slot->sent = time;
	end_frame(&peer->out, at);
}

static void fill(struct peer *peer)
{
	uint64_t time = now();

	if (!sends || interval || !peer->is_ready)
		return;
	while (peer->unused_count && issued < limit)
		issue(peer, time);
	flush(peer);
}

/* Sends what is due at a rate; a request for which every connection has too many in flight is not sent, but counted. */
static void keep_pace(struct peer *peers, size_t count)
{
	static size_t turn;

	for (uint64_t time = now(); sends && is_due(time); time = now()) {
		size_t tried = 0;
		while (tried < count && (!peers[turn].is_ready || !peers[turn].is_open || !peers[turn].unused_count)) {
			tried++;
			turn = (turn + 1) % count;
		}
		if (tried == count) {
			withheld++;
			continue;
		}
		issue(&peers[turn], now());
		flush(&peers[turn]);
		turn = (turn + 1) % count;
	}
}

static void judge(const struct slot *slot, const uint8_t *p, const uint8_t *end)
{
	struct text verdict = { 0 }, reason = { 0 };

	if (!read_actions(p, end, &verdict, &reason)) {
		seen.malformed++;
		return;
	}
	bool allow = is(&verdict, "allow"), deny = is(&verdict, "deny");
	if (!allow && !deny)
		seen.without_verdict++;
	else if (deny && is(&reason, "internal_error"))
		seen.overdue++;         /* past the agent's deadline: right by its contract, but not what was asked for */
	else if (checks_verdicts && allow != slot->allow)
		seen.wrong_verdict++;
	if (counts) {
		seen.allowed += allow;
		seen.denied += deny;
	}
}

static void take_ack(struct peer *peer, const uint8_t *p, const uint8_t *end, uint64_t stream, uint64_t time)
{
	uint32_t number = (uint32_t)(stream & ((1u << slot_bits) - 1));
	struct slot *slot = &peer->slots[number];

	if (number >= window || !slot->busy || slot->stream != stream) {
		seen.unmatched++;
		return;
	}
	slot->busy = false;
	peer->unused[peer->unused_count++] = number;
	judge(slot, p, end);
	if (!counts)
		return;
	uint64_t taken = time - slot->sent;
	seen.acks++;
	histogram[step_of(taken)]++;
	slow += taken > slow_limit;
	if (taken > slowest)
		slowest = taken;
}

static void take_frame(struct peer *peer, const uint8_t *p, size_t size, uint64_t time)
{
	const uint8_t *end = p + size, *after = p + 5;
	uint64_t stream, frame;

	if (size < 7 || (p[4] & (FIN | ABRT)) != FIN || !get_varint(&after, end, &stream) ||
	    !get_varint(&after, end, &frame) || (p[0] != ACK && p[0] != AGENT_HELLO)) {
		seen.malformed++;       /* a DISCONNECT too: nothing here gives an agent a reason */
		end_peer(peer);
	} else if (p[0] == ACK) {
		take_ack(peer, after, end, stream, time);
	} else {
		peer->is_ready = true;
	}
}

static void hear(struct peer *peer)
{
	ssize_t size = recv(peer->fd, peer->in + peer->held, ROOM - peer->held, 0);
	uint64_t time = now();
	size_t at = 0;

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size <= 0) {
		seen.closed++;
		end_peer(peer);
		return;
	}
	peer->held += (size_t)size;
	while (peer->is_open && peer->held - at >= 4) {
		uint32_t length;
		memcpy(&length, peer->in + at, 4);
		length = ntohl(length);
		if (length > MAX_FRAME) {
			seen.malformed++;
			end_peer(peer);
			return;
		}
		if (peer->held - at - 4 < length)
			break;
		take_frame(peer, peer->in + at + 4, length, time);
		at += 4 + length;
	}
	memmove(peer->in, peer->in + at, peer->held - at);
	peer->held -= at;
	if (peer->is_open)
		fill(peer);
}

static void fill_all(struct peer *peers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fill(&peers[i]);
}

static void open_peer(struct peer *peer, size_t id, const struct sockaddr *address, socklen_t size)
{
	struct epoll_event event = { EPOLLIN, { .ptr = peer } };
	int on = 1;

	peer->slots = grown(NULL, window * sizeof *peer->slots);
	memset(peer->slots, 0, window * sizeof *peer->slots);
	peer->unused = grown(NULL, window * sizeof *peer->unused);
	while (peer->unused_count < window) {
		peer->unused[peer->unused_count] = peer->unused_count;
		peer->unused_count++;
	}
	peer->in = grown(NULL, ROOM);
	peer->sequence = 1 + id * 1000000;
	peer->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer->fd < 0 || connect(peer->fd, address, size) < 0)
		die("connect: %s", strerror(errno));
	fcntl(peer->fd, F_SETFL, fcntl(peer->fd, F_GETFL) | O_NONBLOCK);
	if (address->sa_family == AF_INET)
		setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	epoll_ctl(epoll, EPOLL_CTL_ADD, peer->fd, &event);
	peer->is_open = true;
	open_count++;
	size_t at = begin_frame(&peer->out, HAPROXY_HELLO, 0, 0);
	add_text(&peer->out, "supported-versions", "2.0");
	add_key(&peer->out, "max-frame-size", T_UINT32);
	add_varint(&peer->out, MAX_FRAME);
	add_text(&peer->out, "capabilities", "pipelining");
	end_frame(&peer->out, at);
	flush(peer);
}

static void close_peer(struct peer *peer)
{
	if (!peer->is_open)
		return;
	size_t at = begin_frame(&peer->out, HAPROXY_DISCONNECT, 0, 0);
	add_key(&peer->out, "status-code", T_UINT32);
	add_varint(&peer->out, 0);
	add_text(&peer->out, "message", "normal");
	end_frame(&peer->out, at);
	flush(peer);
	end_peer(peer);
}

static bool is_ready(const struct peer *peer) { return peer->is_ready; }
static bool is_quiet(const struct peer *peer) { return peer->unused_count == window; }
static bool has_enough(const struct peer *peer) { return issued >= limit && is_quiet(peer); }
static bool never(const struct peer *peer) { (void)peer; return false; }

/* Serves all connections until the time is up, none is open, or `done` holds for each open one. */
static void run(struct peer *peers, size_t count, double seconds, bool (*done)(const struct peer *))
{
	uint64_t end = now() + (uint64_t)(seconds * 1e9);

	while (open_count && now() < end && !(is_told_to_end && done == never)) {
		struct epoll_event events[256];
		bool all = done != never;
		for (size_t i = 0; all && i < count; i++)
			all = !peers[i].is_open || done(&peers[i]);
		if (all)
			return;
		keep_pace(peers, count);
		int ready = epoll_wait(epoll, events, 256, idle_ms(now()));
		for (int i = 0; i < ready; i++) {
			struct peer *peer = events[i].data.ptr;
			if (peer->is_open && events[i].events & EPOLLOUT)
				flush(peer);
			if (peer->is_open && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				hear(peer);
		}
	}
}

/* -------------------------------------------------------------------------------------------------------- main */

static void usage(void)
{
	puts("usage: load ADDRESS --certificates PACK --requests FILE [options]\n"
	     "  ADDRESS                HOST:PORT (IPv4) or unix:PATH\n"
	     "  --certificates PACK    certificates: four bytes of length and DER, each\n"
	     "  --requests FILE        lines of CERTIFICATE METHOD PATH SOURCE VERDICT, sent in turn; CERTIFICATE\n"
	     "                         counts from 0, or is * for the next fresh one, and ############ in PATH is\n"
	     "                         another number in every request\n"
	     "  -c, --connections N    (1)\n"
	     "  -w, --window N         frames in flight on each (1)\n"
	     "  -t, --time SECONDS     what is measured (5)\n"
	     "  -u, --warm-up SECONDS  before that (0.5)\n"
	     "  -n, --count N          stop after so many requests; all of them are measured\n"
	     "  --fresh PACK           fresh certificates, each of which is sent once,\n"
	     "  --fresh-first N        beginning with this one (0)\n"
	     "  -r, --rate N           send so many requests a second, whether answers come or not (as fast as they come)\n"
	     "  --all-arguments        send what the shipped configuration sends, with an id that is never the same\n"
	     "  --any-verdict          take any verdict for right\n"
	     "  --slow MS              count answers that took longer\n"
	     "  -p, --pid PID          report the CPU time of this process per answer; repeatable\n"
	     "prints one line of JSON, also when SIGTERM ends it early; exit status: 0 all well, 1 an error was seen, 2 could not run");
	exit(0);
}

static socklen_t read_address(const char *text, struct sockaddr_storage *address)
{
	struct sockaddr_un *un = (struct sockaddr_un *)address;
	struct sockaddr_in *in = (struct sockaddr_in *)address;
	char host[64];
	uint16_t port;

	if (!strncmp(text, "unix:", 5)) {
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof un->sun_path, "%s", text + 5);
		return sizeof *un;
	}
	if (sscanf(text, "%63[0-9.]:%" SCNu16, host, &port) != 2 || inet_pton(AF_INET, host, &in->sin_addr) != 1)
		die("bad address %s", text);
	in->sin_family = AF_INET;
	in->sin_port = htons(port);
	return sizeof *in;
}

static struct { pid_t pid; clockid_t clock; uint64_t used; } watched[MAX_PIDS];
static int watched_count;

static void watch(const char *text)
{
	if (watched_count == MAX_PIDS)
		die("too many processes");
	watched[watched_count].pid = atoi(text);
	if (clock_getcpuclockid(watched[watched_count].pid, &watched[watched_count].clock))
		die("no process %s", text);
	watched_count++;
}

static void report(double elapsed)
{
	uint64_t errors = seen.unmatched + seen.malformed + seen.wrong_verdict + seen.without_verdict + seen.closed +
			  seen.lost;

	printf("{\"acks\":%" PRIu64 ",\"seconds\":%.3f,\"per_second\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
	       "\"max_us\":%.1f,\"slow\":%" PRIu64 ",\"allowed\":%" PRIu64 ",\"denied\":%" PRIu64 ",\"fresh_used\":%zu,"
	       "\"errors\":%" PRIu64 ",\"unmatched\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"wrong_verdict\":%" PRIu64
	       ",\"without_verdict\":%" PRIu64 ",\"closed\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"overdue\":%" PRIu64
	       ",\"withheld\":%" PRIu64 ",\"late_max_us\":%.1f,\"cpu_us\":{",
	       seen.acks, elapsed, (double)seen.acks / elapsed, percentile(.5, seen.acks), percentile(.99, seen.acks),
	       percentile(.999, seen.acks), (double)slowest / 1000, slow, seen.allowed, seen.denied, next_fresh, errors,
	       seen.unmatched, seen.malformed, seen.wrong_verdict, seen.without_verdict, seen.closed, seen.lost,
	       seen.overdue, withheld, (double)latest / 1000);
	for (int i = 0; i < watched_count; i++)
		printf("%s\"%d\":%.3f", i ? "," : "", (int)watched[i].pid,
		       seen.acks ? (double)watched[i].used / 1000 / (double)seen.acks : 0.0);
	puts("}}");
	exit(errors || !seen.acks ? 1 : 0);
}

/* Runs the load for the warm-up and the measured time; returns the seconds that were measured. */
static double measure(struct peer *peers, size_t count, double warm_up, double seconds)
{
	bool is_counted = limit != UINT64_MAX;

	sends = true;
	due = now();
	if (!is_counted) {
		fill_all(peers, count);
		run(peers, count, warm_up, never);
	}
	counts = true;
	latest = withheld = 0;
	for (int i = 0; i < watched_count; i++)
		watched[i].used = nanoseconds(watched[i].clock);
	uint64_t began = now();
	if (is_counted)
		fill_all(peers, count);
	run(peers, count, seconds, is_counted ? has_enough : never);
	uint64_t ended = now();
	for (int i = 0; i < watched_count; i++)
		watched[i].used = nanoseconds(watched[i].clock) - watched[i].used;
	counts = sends = false;
	run(peers, count, 2, is_quiet);
	for (size_t i = 0; i < count; i++)
		close_peer(&peers[i]);
	return (double)(ended - began) / 1e9;
}

int main(int argc, char **argv)
{
	enum { CERTIFICATES = 256, REQUESTS, FRESH, FRESH_FIRST, ALL_ARGUMENTS, ANY_VERDICT, SLOW };
	static const struct option options[] = {
		{ "certificates", 1, 0, CERTIFICATES }, { "requests", 1, 0, REQUESTS }, { "connections", 1, 0, 'c' },
		{ "window", 1, 0, 'w' }, { "time", 1, 0, 't' }, { "warm-up", 1, 0, 'u' }, { "count", 1, 0, 'n' },
		{ "fresh", 1, 0, FRESH },
		{ "fresh-first", 1, 0, FRESH_FIRST },
		{ "all-arguments", 0, 0, ALL_ARGUMENTS }, { "any-verdict", 0, 0, ANY_VERDICT }, { "slow", 1, 0, SLOW },
		{ "rate", 1, 0, 'r' }, { "pid", 1, 0, 'p' }, { "help", 0, 0, 'h' }, { 0, 0, 0, 0 },
	};
	const char *certificates = NULL, *lines = NULL;
	struct sockaddr_storage address = { 0 };
	double seconds = 5, warm_up = 0.5;
	size_t count = 1;
	int option;

	while ((option = getopt_long(argc, argv, "c:w:t:u:n:r:p:h", options, NULL)) != -1)
		switch (option) {
		case CERTIFICATES: certificates = optarg; break;
		case REQUESTS: lines = optarg; break;
		case 'c': count = strtoul(optarg, NULL, 10); break;
		case 'w': window = (unsigned)strtoul(optarg, NULL, 10); break;
		case 't': seconds = atof(optarg); break;
		case 'u': warm_up = atof(optarg); break;
		case 'n': limit = strtoull(optarg, NULL, 10); break;
		case FRESH: fresh = read_pack(optarg); break;
		case FRESH_FIRST: next_fresh = strtoul(optarg, NULL, 10); break;
		case ALL_ARGUMENTS: sends_all = true; break;
		case ANY_VERDICT: checks_verdicts = false; break;
		case SLOW: slow_limit = (uint64_t)(atof(optarg) * 1e6); break;
		case 'r': interval = (uint64_t)(1e9 / atof(optarg)); break;
		case 'p': watch(optarg); break;
		case 'h': usage(); break;
		default: return 2;
		}
	if (optind != argc - 1 || !certificates || !lines || !count || count > 4096 || !window || window > 1024 ||
	    seconds > 600)
		die("bad or missing options, see --help");
	while (1u << slot_bits < window)
		slot_bits++;
	usual = read_pack(certificates);
	read_requests(lines);
	socklen_t size = read_address(argv[optind], &address);
	struct peer *peers = calloc(count, sizeof *peers);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!peers || epoll < 0)
		die("out of memory");
	for (size_t i = 0; i < count; i++)
		open_peer(&peers[i], i, (struct sockaddr *)&address, size);
	run(peers, count, 5, is_ready);
	for (size_t i = 0; i < count; i++)
		if (!peers[i].is_open || !peers[i].is_ready)
			die("the agent did not greet on every connection");
	signal(SIGTERM, on_terminate);
	report(measure(peers, count, warm_up, seconds));
}
