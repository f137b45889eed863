/*
 * https - clients of HAProxy: keep-alive HTTPS connections, each with a client certificate of its own and the address
 * that belongs to it, told by the PROXY protocol. The status of every answer is checked.
 *
 * One thread, epoll, a closed loop: each connection sends its next request when the answer to the last one is in; or,
 * with a rate, whenever one is due, on the next connection that waits for nothing. Handshakes are done before anything
 * is counted.
 *
 * Build: cc -O2 -Wall -Wextra -o https https.c -lssl -lcrypto       Run: https --help
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency.h"
#include "pace.h"
#include "wire.h"

enum { ROOM = 1 << 14, LINE = 4096, MAX_PIDS = 64, OK = 200, FORBIDDEN = 403 };

struct ask { char *text; size_t size; int status; };

/* What one client asks, in turn. */
struct client { size_t certificate, count, next; char source[64]; struct ask *asks; };

struct peer {
	struct client *client;
	SSL *ssl;
	int fd, status;         /* the status that is waited for; 0: nothing is */
	uint64_t sent;
	size_t held;
	char in[ROOM + 1];
};

static struct { uint64_t answers, wrong, malformed, closed; int wrong_status; } seen;
static struct client *clients;
static struct bytes *ders;
static size_t client_count, der_count;
static int epoll, expected;
static bool sends, counts;

/* ---------------------------------------------------------------------------------------------------- what is asked */

static void read_pack(const char *path)
{
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
		add(&item, der, length);
		ders = grown(ders, (der_count + 1) * sizeof item);
		ders[der_count++] = item;
	}
	fclose(file);
}

static struct client *client_of(size_t certificate, const char *source)
{
	for (size_t i = 0; i < client_count; i++)
		if (clients[i].certificate == certificate)
			return &clients[i];
	clients = grown(clients, (client_count + 1) * sizeof *clients);
	struct client *client = &clients[client_count++];
	memset(client, 0, sizeof *client);
	client->certificate = certificate;
	snprintf(client->source, sizeof client->source, "%s", source);
	return client;
}

static void read_requests(const char *path)
{
	char line[2 * LINE], method[32], target[LINE], source[64], verdict[8];
	size_t certificate;
	FILE *file = fopen(path, "r");

	if (!file)
		die("%s: %s", path, strerror(errno));
	for (size_t number = 1; fgets(line, sizeof line, file); number++) {
		if (sscanf(line, "%zu %31s %4095s %63s %7s", &certificate, method, target, source, verdict) != 5)
			die("line %zu is not CERTIFICATE METHOD PATH SOURCE VERDICT", number);
		if (certificate >= der_count)
			die("line %zu names a certificate that there isn't", number);
		struct client *client = client_of(certificate, source);
		struct ask ask = { .status = strcmp(verdict, "allow") ? FORBIDDEN : OK };
		int size = asprintf(&ask.text, "%s %s HTTP/1.1\r\nHost: bench.example.test\r\n\r\n", method, target);
		if (size < 0)
			die("out of memory");
		ask.size = (size_t)size;
		client->asks = grown(client->asks, (client->count + 1) * sizeof ask);
		client->asks[client->count++] = ask;
	}
	fclose(file);
	if (!client_count)
		die("%s is empty", path);
}

/* ------------------------------------------------------------------------------------------------------ connections */

static void open_peer(struct peer *peer, SSL_CTX *context, const struct sockaddr_in *address)
{
	const uint8_t *der = ders[peer->client->certificate].p;
	struct epoll_event event = { EPOLLIN, { .ptr = peer } };
	char first[128];
	int on = 1;

	peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer->fd < 0 || connect(peer->fd, (const void *)address, sizeof *address) < 0)
		die("connect: %s", strerror(errno));
	setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	int size = snprintf(first, sizeof first, "PROXY TCP4 %s 127.0.0.1 40000 443\r\n", peer->client->source);
	if (write(peer->fd, first, (size_t)size) != size)
		die("write: %s", strerror(errno));
	peer->ssl = SSL_new(context);
	if (!peer->ssl || SSL_use_certificate_ASN1(peer->ssl, der, (int)ders[peer->client->certificate].size) != 1 ||
	    SSL_set_fd(peer->ssl, peer->fd) != 1 || SSL_connect(peer->ssl) != 1)
		die("handshake: %s", ERR_error_string(ERR_get_error(), NULL));
	fcntl(peer->fd, F_SETFL, fcntl(peer->fd, F_GETFL) | O_NONBLOCK);
	epoll_ctl(epoll, EPOLL_CTL_ADD, peer->fd, &event);
}

static void ask(struct peer *peer)
{
	struct client *client = peer->client;
	const struct ask *next = &client->asks[client->next];

	client->next = (client->next + 1) % client->count;
	peer->status = expected ? expected : next->status;
	peer->sent = now();
	/* A request is far smaller than the socket's buffer, and the last one was answered: it always fits. */
	if (SSL_write(peer->ssl, next->text, (int)next->size) != (int)next->size)
		die("a request does not go out: %s", ERR_error_string(ERR_get_error(), NULL));
}

/* Returns the size of the answer that is held from the start, or 0 when it isn't all there. */
static size_t answer_size(struct peer *peer, int *status)
{
	peer->in[peer->held] = 0;
	char *end = strstr(peer->in, "\r\n\r\n"), *length = strcasestr(peer->in, "\r\ncontent-length:");

	if (!end)
		return 0;
	size_t size = (size_t)(end + 4 - peer->in) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
	*status = strncmp(peer->in, "HTTP/1.1 ", 9) ? 0 : atoi(peer->in + 9);
	return peer->held >= size ? size : 0;
}

static void take(struct peer *peer, int status, uint64_t time)
{
	uint64_t taken = time - peer->sent;

	if (!peer->status || !status) {
		seen.malformed++;
	} else if (status != peer->status) {
		seen.wrong++;
		seen.wrong_status = status;
	}
	peer->status = 0;
	if (!counts)
		return;
	seen.answers++;
	histogram[step_of(taken)]++;
	slow += taken > slow_limit;
	if (taken > slowest)
		slowest = taken;
}

static void hear(struct peer *peer)
{
	int size = SSL_read(peer->ssl, peer->in + peer->held, (int)(ROOM - peer->held)), status = 0;

	if (size <= 0) {
		if (SSL_get_error(peer->ssl, size) != SSL_ERROR_WANT_READ) {
			seen.closed++;
			epoll_ctl(epoll, EPOLL_CTL_DEL, peer->fd, NULL);
			close(peer->fd);
		}
		return;
	}
	peer->held += (size_t)size;
	size_t whole = answer_size(peer, &status);
	if (!whole)
		return;
	memmove(peer->in, peer->in + whole, peer->held - whole);
	peer->held -= whole;
	take(peer, status, now());
	if (sends && !interval)
		ask(peer);
}

static void keep_pace(struct peer *peers, size_t count)
{
	static size_t turn;

	for (uint64_t time = now(); sends && is_due(time); time = now()) {
		size_t tried = 0;
		while (tried < count && peers[turn].status) {
			tried++;
			turn = (turn + 1) % count;
		}
		if (tried == count) {
			withheld++;
			continue;
		}
		ask(&peers[turn]);
		turn = (turn + 1) % count;
	}
}

static bool are_quiet(const struct peer *peers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (peers[i].status)
			return false;
	return true;
}

static void run(struct peer *peers, size_t count, double seconds)
{
	uint64_t end = now() + (uint64_t)(seconds * 1e9);

	while (now() < end && !seen.closed && (sends || !are_quiet(peers, count))) {
		struct epoll_event events[256];
		keep_pace(peers, count);
		int ready = epoll_wait(epoll, events, 256, idle_ms(now()));
		for (int i = 0; i < ready; i++)
			hear(events[i].data.ptr);
	}
}

/* ------------------------------------------------------------------------------------------------------------- main */

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

static void report(double elapsed, uint64_t lost)
{
	uint64_t errors = seen.wrong + seen.malformed + seen.closed + lost;

	printf("{\"acks\":%" PRIu64 ",\"seconds\":%.3f,\"per_second\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
	       "\"max_us\":%.1f,\"slow\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"wrong\":%" PRIu64 ",\"wrong_status\":%d,"
	       "\"malformed\":%" PRIu64 ",\"closed\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"withheld\":%" PRIu64 ",\"cpu_us\":{",
	       seen.answers, elapsed, (double)seen.answers / elapsed, percentile(.5, seen.answers),
	       percentile(.99, seen.answers), percentile(.999, seen.answers), (double)slowest / 1000, slow, errors,
	       seen.wrong, seen.wrong_status, seen.malformed, seen.closed, lost, withheld);
	for (int i = 0; i < watched_count; i++)
		printf("%s\"%d\":%.3f", i ? "," : "", (int)watched[i].pid,
		       seen.answers ? (double)watched[i].used / 1000 / (double)seen.answers : 0.0);
	puts("}}");
	exit(errors || !seen.answers ? 1 : 0);
}

static void measure(struct peer *peers, size_t count, double warm_up, double seconds)
{
	uint64_t lost = 0;

	sends = true;
	due = now();
	for (size_t i = 0; !interval && i < count; i++)
		ask(&peers[i]);
	run(peers, count, warm_up);
	counts = true;
	withheld = 0;
	for (int i = 0; i < watched_count; i++)
		watched[i].used = nanoseconds(watched[i].clock);
	uint64_t began = now();
	run(peers, count, seconds);
	uint64_t ended = now();
	for (int i = 0; i < watched_count; i++)
		watched[i].used = nanoseconds(watched[i].clock) - watched[i].used;
	counts = sends = false;
	run(peers, count, 2);
	for (size_t i = 0; i < count; i++)
		lost += peers[i].status != 0;
	report((double)(ended - began) / 1e9, lost);
}

static void usage(void)
{
	puts("usage: https PORT --certificates PACK --key PEM --requests FILE [options]\n"
	     "  PORT                   of a listener on 127.0.0.1 that accepts the PROXY protocol\n"
	     "  --certificates PACK    certificates: four bytes of length and DER, each; --key PEM: the key of all of them\n"
	     "  --requests FILE        lines of CERTIFICATE METHOD PATH SOURCE VERDICT; each client asks what stands\n"
	     "                         beside its certificate, and must get 200 for allow and 403 otherwise\n"
	     "  -c, --connections N    (1)     -t, --time SECONDS     what is measured (5)\n"
	     "  -r, --rate N           a second, in all (as fast as answers come)\n"
	     "  -u, --warm-up SECONDS  before that (0.5)\n"
	     "  --expect STATUS        of every answer, whatever the file says\n"
	     "  --slow MS              count answers that took longer\n"
	     "  -p, --pid PID          report the CPU time of this process per answer; repeatable\n"
	     "prints one line of JSON; exit status: 0 all well, 1 an error was seen, 2 could not run");
	exit(0);
}

int main(int argc, char **argv)
{
	enum { CERTIFICATES = 256, REQUESTS, KEY, EXPECT, SLOW };
	static const struct option options[] = {
		{ "certificates", 1, 0, CERTIFICATES }, { "requests", 1, 0, REQUESTS }, { "key", 1, 0, KEY },
		{ "connections", 1, 0, 'c' }, { "time", 1, 0, 't' }, { "warm-up", 1, 0, 'u' }, { "rate", 1, 0, 'r' },
		{ "expect", 1, 0, EXPECT }, { "slow", 1, 0, SLOW }, { "pid", 1, 0, 'p' }, { "help", 0, 0, 'h' },
		{ 0, 0, 0, 0 },
	};
	const char *certificates = NULL, *lines = NULL, *key = NULL;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	double seconds = 5, warm_up = 0.5;
	size_t count = 1;
	int option;

	while ((option = getopt_long(argc, argv, "c:t:u:r:p:h", options, NULL)) != -1)
		switch (option) {
		case CERTIFICATES: certificates = optarg; break;
		case REQUESTS: lines = optarg; break;
		case KEY: key = optarg; break;
		case EXPECT: expected = atoi(optarg); break;
		case SLOW: slow_limit = (uint64_t)(atof(optarg) * 1e6); break;
		case 'c': count = strtoul(optarg, NULL, 10); break;
		case 't': seconds = atof(optarg); break;
		case 'u': warm_up = atof(optarg); break;
		case 'r': interval = (uint64_t)(1e9 / atof(optarg)); break;
		case 'p': watch(optarg); break;
		case 'h': usage(); break;
		default: return 2;
		}
	if (optind != argc - 1 || !certificates || !lines || !key || !count || count > 4096 || seconds > 600)
		die("bad or missing options, see --help");
	address.sin_port = htons((uint16_t)atoi(argv[optind]));
	read_pack(certificates);
	read_requests(lines);
	if (count > client_count)
		die("%zu connections, but %zu clients in the file", count, client_count);
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	struct peer *peers = calloc(count, sizeof *peers);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!context || !peers || epoll < 0 || SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
		die("no memory, or no key in %s", key);
	SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
	for (size_t i = 0; i < count; i++) {
		peers[i].client = &clients[i];
		open_peer(&peers[i], context, &address);
	}
	measure(peers, count, warm_up, seconds);
}
