/* load: a WebSocket load generator on one epoll set and one thread. Linux only.
 *
 *   load echo   HOST PORT PATH [options]   every connection keeps DEPTH messages under way and counts those echoed
 *   load fanout HOST PORT PATH [options]   the first connection keeps DEPTH messages under way, the server sends each
 *                                          to all connections, the sender too; counts deliveries
 *   load idle   HOST PORT PATH [options]   opens the connections and holds them; opening handshakes a second, and
 *                                          the server's resident bytes per connection
 *
 *   -c, --connections N    how many connections (1)
 *   -s, --size BYTES       payload of a message before compression (16)
 *   -d, --depth N          messages under way (1)
 *   -t, --seconds S        how long to measure, at most 30 (3); for idle: how long to hold (1)
 *   -w, --warmup S         how long to run before measuring (0.5)
 *   -n, --messages N       stop after so many messages, whatever the time
 *   -p, --pid PID          the server: adds the CPU time and resident memory of its process tree to the figures
 *   -b, --binary           binary messages in place of text
 *   -z, --deflate          permessage-deflate without context takeover, in both directions
 *   -e, --tls              TLS, certificates not verified
 *   -k, --check            compares every byte of every reply, inflated, in order, with what was sent (slower)
 *   -x, --touch            idle: each connection echoes one message before it idles
 *
 * Every run checks handshake, framing, message type and length; only --check looks at the content. Prints one JSON
 * object. Exit status 1: a connection failed or closed, a reply was wrong, or nothing came for five seconds; 2: bad usage.
 * Only 127.0.0.0/8 is dialled, and pings are not answered: 30 seconds are too short for that to matter.
 *
 *   cc -O3 load.c -lz -lssl -lcrypto        or        cc -O3 -DNO_TLS load.c -lz
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#ifndef NO_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

enum { MAX_CONNECTIONS = 100000, MAX_SIZE = 1 << 26, MAX_DEPTH = 10000, MAX_SECONDS = 30, OPENING_AT_ONCE = 200 };
enum { WARM_CONNECTIONS = 100, PATIENCE_MS = 5000, SETTLE_US = 300000, EVENTS = 1024, HEAD_ROOM = 4096, READ_ROOM = 1 << 18 };

typedef enum { DIALLED, GREETING, OPEN } Stage;

typedef struct {
    int fd;
    Stage stage;
    bool watching_out;    /* EPOLLOUT is on */
    uint64_t due, sent;   /* messages asked for; messages wholly written */
    size_t written;       /* bytes of message number `sent` that are already written */
    uint64_t received;    /* whole messages */
    double *stamps;       /* when each message under way was asked for: a ring of depth */
    uint8_t header[10];   /* of the frame being read */
    int header_have;
    uint64_t left;        /* payload bytes of that frame still to come */
    uint64_t message_have;/* payload bytes of the message being read, before inflation */
    uint8_t first;        /* first byte of the frame being read */
    bool in_message, compressed, keeps_context;
    uint8_t *message;     /* --check: the message read so far */
    size_t message_room;
    z_stream *inflater;   /* --check */
    char *head;           /* the handshake's response so far */
    size_t head_have;
    void *tls;
} Connection;

static enum { ECHO_MODE, FANOUT_MODE, IDLE_MODE } mode;
static const char *host, *path;
static int port, connections = 1, depth = 1, warm_connections;
static size_t size = 16;
static double seconds = -1, warmup = 0.5;
static uint64_t message_limit = UINT64_MAX;
static long server_pid;
static bool binary, deflated, use_tls, checked, touch;

#include "load_figures.h"
#include "load_messages.h"

static int epoll_fd;
static Connection *all;
static uint8_t *inflated; /* --check: room for one message */
static uint64_t total, compressed_total, bytes_in;

static void die(const char *format, ...) {
    int error = errno;
    va_list args;
    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    if (error) fprintf(stderr, " (%s)", strerror(error));
    fputc('\n', stderr);
    exit(1);
}
static void fail(const char *what) { errno = 0; die("%s", what); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}
static uint32_t noise(void) { /* xorshift, the same sequence in every run */
    static uint32_t x = 2463534242;
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    return x;
}
static void *room(size_t n) {
    void *p = calloc(1, n);
    if (!p) die("no memory for %zu bytes", n);
    return p;
}

/* ---- reading and writing, with or without TLS: bytes moved, 0 for "not now"; the peer's end is fatal ---- */

#ifndef NO_TLS
static SSL_CTX *tls_context;

static void tls_prepare(void) {
    tls_context = SSL_CTX_new(TLS_client_method());
    if (!tls_context) fail("SSL_CTX_new");
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(tls_context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF);
}
static void tls_attach(Connection *c) {
    c->tls = SSL_new(tls_context);
    if (!c->tls || !SSL_set_fd(c->tls, c->fd)) fail("SSL_new");
}
static size_t tls_moved(Connection *c, int result, const char *what) {
    if (result > 0) return result;
    int error = SSL_get_error(c->tls, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
    if (error == SSL_ERROR_ZERO_RETURN) fail("the server closed a TLS connection");
    char reason[256];
    ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
    die("TLS %s: %s", what, reason);
    return 0;
}
static bool tls_shake(Connection *c) { return tls_moved(c, SSL_connect(c->tls), "handshake") > 0; }
static size_t tls_read(Connection *c, void *to, size_t n) { return tls_moved(c, SSL_read(c->tls, to, n), "read"); }
static size_t tls_write(Connection *c, const void *from, size_t n) { return tls_moved(c, SSL_write(c->tls, from, n), "write"); }
static void tls_end(Connection *c) { SSL_free(c->tls); }
#else
static void tls_prepare(void) { fprintf(stderr, "load: built without TLS\n"); exit(2); }
static void tls_attach(Connection *c) { (void)c; }
static bool tls_shake(Connection *c) { (void)c; return true; }
static size_t tls_read(Connection *c, void *to, size_t n) { (void)c, (void)to, (void)n; return 0; }
static size_t tls_write(Connection *c, const void *from, size_t n) { (void)c, (void)from, (void)n; return 0; }
static void tls_end(Connection *c) { (void)c; }
#endif

static size_t take(Connection *c, void *to, size_t n) {
    if (use_tls) return tls_read(c, to, n);
    ssize_t k = recv(c->fd, to, n, 0);
    if (k > 0) return k;
    if (k == 0) { errno = 0; die("the server hung up%s", c->stage == OPEN ? "" : " during the handshake"); }
    if (errno != EAGAIN && errno != EINTR) die("recv");
    return 0;
}
static size_t give(Connection *c, const void *from, size_t n) {
    if (use_tls) return tls_write(c, from, n);
    ssize_t k = send(c->fd, from, n, MSG_NOSIGNAL);
    if (k < 0 && errno != EAGAIN && errno != EINTR) die("send");
    return k < 0 ? 0 : k;
}
static void watch(Connection *c, bool out) {
    if (c->watching_out == out) return;
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
    c->watching_out = out;
}

/* Writes what is due, straight from the train: a run of at most `variants` messages is contiguous there. */
static void flush(Connection *c) {
    while (c->sent < c->due) {
        int variant = c->sent % variants;
        uint64_t run = c->due - c->sent < (uint64_t)variants ? c->due - c->sent : (uint64_t)variants;
        size_t from = starts[variant] + c->written, to = starts[variant + run];
        size_t k = give(c, train + from, to - from);
        if (k == 0) { watch(c, true); return; }
        for (c->written += k; c->sent < c->due; c->sent++, variant++) {
            size_t length = starts[variant + 1] - starts[variant];
            if (c->written < length) break;
            c->written -= length;
        }
    }
    watch(c, false);
}
static void ask(Connection *c, uint64_t messages, double t) {
    for (uint64_t i = 0; i < messages; i++) c->stamps[c->due++ % depth] = t;
    if (!c->watching_out) flush(c);
}

/* ---- what comes back ---- */

static void compare(Connection *c) {
    const uint8_t *got = c->message;
    size_t n = c->message_have;
    if (c->compressed) {
        static uint8_t tail[4] = {0, 0, 0xff, 0xff};
        z_stream *z = c->inflater;
        z->next_out = inflated, z->avail_out = size + 1;
        for (int part = 0; part < 2; part++) {
            z->next_in = part ? tail : c->message, z->avail_in = part ? 4 : c->message_have;
            int state = z->avail_in ? inflate(z, Z_SYNC_FLUSH) : Z_OK;
            if (state == Z_STREAM_END) break; /* a final block inside a message: RFC 7692, 7.2.3.4 */
            if (state != Z_OK && state != Z_BUF_ERROR) fail("a reply does not inflate");
        }
        got = inflated, n = size + 1 - z->avail_out;
        if (!c->keeps_context) inflateReset(z);
    }
    if (n != size || memcmp(got, payloads[c->received % variants], n)) fail("a reply differs from what was sent");
}
static void begin_frame(Connection *c, uint8_t first, uint64_t length) {
    int opcode = first & 15;
    c->first = first, c->left = length;
    if (opcode == 8) fail("the server closed a connection");
    if (opcode > 8) return;
    if (first & 0x30 || (opcode == 0) != c->in_message) fail("a reply is badly framed");
    if (opcode) {
        if (opcode != (binary ? 2 : 1)) fail("a reply is of another type than what was sent");
        c->in_message = true, c->compressed = first & 0x40, c->message_have = 0;
        if (c->compressed && !deflated) fail("a reply is compressed, which was not agreed");
    }
}
static void end_message(Connection *c) {
    if (!c->compressed && c->message_have != size) fail("a reply differs in length from what was sent");
    if (checked) compare(c);
    if (c->compressed) compressed_total++;
    c->in_message = false;
    c->received++;
}
/* Reads frames from the buffer; answers how many messages became whole. */
static uint64_t digest(Connection *c, const uint8_t *p, size_t n) {
    uint64_t before = c->received;
    const uint8_t *end = p + n;
    while (p < end) {
        if (c->left == 0) {
            int need = c->header_have < 2 ? 2 : c->header[1] < 126 ? 2 : c->header[1] == 126 ? 4 : 10;
            while (c->header_have < need && p < end) {
                c->header[c->header_have++] = *p++;
                if (c->header_have == 2) {
                    if (c->header[1] & 0x80) fail("a reply is masked");
                    need = c->header[1] < 126 ? 2 : c->header[1] == 126 ? 4 : 10;
                }
            }
            if (c->header_have < need) break;
            uint64_t length = need == 2 ? c->header[1] : 0;
            for (int i = 2; i < need; i++) length = length << 8 | c->header[i];
            c->header_have = 0;
            begin_frame(c, c->header[0], length);
        }
        size_t k = c->left < (size_t)(end - p) ? c->left : (size_t)(end - p);
        if ((c->first & 15) < 8) {
            if (checked) {
                if (c->message_have + k > c->message_room) fail("a reply is longer than what was sent");
                memcpy(c->message + c->message_have, p, k);
            }
            c->message_have += k;
        }
        p += k, c->left -= k;
        if (c->left == 0 && (c->first & 15) < 8 && c->first & 0x80) end_message(c);
    }
    return c->received - before;
}

/* ---- opening ---- */

static void dial(Connection *c, int number) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + number / 20000)};
    inet_pton(AF_INET, host, &to.sin_addr);
    int one = 1; /* 20,000 connections from each of 127.0.0.2, .3, ...: one address has only some 28,000 ports */
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(c->fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    if (use_tls) tls_attach(c);
    c->head = room(HEAD_ROOM);
}
static void request(Connection *c) {
    char text[1024];
    const char *offer = "Sec-WebSocket-Extensions: permessage-deflate; "
                        "client_no_context_takeover; server_no_context_takeover\r\n";
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                     path, host, port, deflated ? offer : "");
    if (n >= (int)sizeof text || give(c, text, n) != (size_t)n) fail("could not send the handshake");
    c->stage = GREETING;
}
static void greeted(Connection *c) {
    if (strncmp(c->head, "HTTP/1.1 101", 12)) { errno = 0; die("no 101 response: %.60s", c->head); }
    if (!strstr(c->head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) fail("Sec-WebSocket-Accept is wrong"); /* RFC 6455, 1.3 */
    if (deflated && !strcasestr(c->head, "permessage-deflate")) fail("the server declined permessage-deflate");
    c->keeps_context = !strcasestr(c->head, "server_no_context_takeover"); /* not what was asked, but some do so */
    c->stage = OPEN;
    c->stamps = room(depth * sizeof *c->stamps);
    if (!checked) return;
    c->message_room = deflated ? 2 * size + 1024 : size; /* what does not compress may grow */
    c->message = room(c->message_room + 1);
    c->inflater = room(sizeof *c->inflater);
    if (deflated && inflateInit2(c->inflater, -15) != Z_OK) fail("inflateInit2");
}
/* Carries one connection's opening on; answers true when it has become open. */
static bool open_further(Connection *c) {
    if (c->stage == DIALLED) {
        if (use_tls && !tls_shake(c)) return false;
        request(c);
    }
    size_t k = take(c, c->head + c->head_have, HEAD_ROOM - 1 - c->head_have);
    c->head_have += k;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        if (c->head_have == HEAD_ROOM - 1) fail("the handshake's response is too long");
        return false;
    }
    if (end + 4 != c->head + c->head_have) fail("bytes follow the handshake's response");
    greeted(c);
    free(c->head);
    c->head = NULL;
    return true;
}
static void open_all(int count) {
    struct epoll_event events[EVENTS];
    for (int dialled = 0, opened = 0; opened < count;) {
        for (; dialled < count && dialled - opened < OPENING_AT_ONCE; dialled++) {
            dial(&all[dialled], dialled);
            if (!use_tls) request(&all[dialled]);
            else if (open_further(&all[dialled])) opened++; /* a fast server may answer before this looks for it */
        }
        int n = epoll_wait(epoll_fd, events, EVENTS, PATIENCE_MS);
        if (n == 0) fail("the handshakes stalled");
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (c->stage != OPEN && open_further(c)) opened++;
        }
    }
}
static void close_all(int count) {
    for (int i = 0; i < count; i++) {
        if (all[i].tls) tls_end(&all[i]);
        close(all[i].fd);
        free(all[i].stamps);
    }
    memset(all, 0, count * sizeof *all);
}

/* ---- the three modes ---- */

static const char *truth(bool b) { return b ? "true" : "false"; }
static void print_common(const char *name) {
    printf("{\"mode\": \"%s\", \"connections\": %d, \"size\": %zu, \"depth\": %d, ", name, connections, size, depth);
    printf("\"tls\": %s, \"deflate\": %s, \"checked\": %s", truth(use_tls), truth(deflated), truth(checked));
}
static void print_messages(uint64_t counted, double took, double cpu, double rss_growth) {
    print_common(mode == ECHO_MODE ? "echo" : "fanout");
    printf(", \"messages\": %lu, \"msgs_per_s\": %.1f, \"mbit_in_per_s\": %.1f", counted, counted / took, bytes_in * 8e-6 / took);
    printf(", \"p50_us\": %.1f, \"p90_us\": %.1f", percentile(.5), percentile(.9));
    printf(", \"p99_us\": %.1f, \"p999_us\": %.1f", percentile(.99), percentile(.999));
    printf(", \"compressed\": %.3f", counted ? (double)compressed_total / counted : 0);
    if (server_pid) {
        printf(", \"server_cpu_us_per_msg\": %.4f", counted ? cpu * 1e6 / counted : 0);
        printf(", \"server_cpu_share\": %.3f, \"rss_growth_bytes\": %.0f", cpu / took, rss_growth);
    }
    puts("}");
}
static void drain(Connection *c) {
    static uint8_t buffer[READ_ROOM];
    static uint64_t fan_deliveries;
    for (;;) {
        size_t k = take(c, buffer, sizeof buffer);
        if (k == 0) return;
        bytes_in += k;
        uint64_t first = c->received, whole = digest(c, buffer, k);
        if (whole) {
            double t = now();
            Connection *sender = mode == FANOUT_MODE ? &all[0] : c;
            for (uint64_t i = 0; i < whole; i++) record(t - sender->stamps[(first + i) % depth]);
            total += whole;
            if (mode == ECHO_MODE) ask(c, whole, t);
            else if (mode == FANOUT_MODE)
                for (fan_deliveries += whole; fan_deliveries >= (uint64_t)connections; fan_deliveries -= connections)
                    ask(sender, 1, t);
        }
        if (!use_tls) return; /* epoll tells of the rest; what TLS has read ahead it does not */
    }
}
static void run_messages(void) {
    struct epoll_event events[EVENTS];
    open_all(connections);
    if (mode == FANOUT_MODE) usleep(SETTLE_US); /* a server may subscribe a connection after it has answered it */
    double warm = now() + warmup, start = 0, end = warm + seconds, t = now();
    double cpu = tree_sum(server_pid, cpu_of), rss = tree_sum(server_pid, rss_of);
    for (int i = 0; i < (mode == FANOUT_MODE ? 1 : connections); i++) ask(&all[i], depth, t);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, PATIENCE_MS);
        if (n == 0) fail("no reply for five seconds");
        t = now();
        if (!start && t >= warm) {
            cpu = tree_sum(server_pid, cpu_of);
            start = now();
            total = bytes_in = compressed_total = 0;
            memset(latencies, 0, sizeof latencies);
        }
        if (t >= end || total >= message_limit) break;
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) flush(c);
            if (events[i].events & ~EPOLLOUT) drain(c);
        }
    }
    double took = now() - (start ? start : warm - warmup);
    uint64_t counted = total;
    cpu = tree_sum(server_pid, cpu_of) - cpu;
    print_messages(counted, took, cpu, tree_sum(server_pid, rss_of) - rss);
}
static void touch_all(int count) {
    struct epoll_event events[EVENTS];
    uint64_t until = total + count;
    double t = now();
    for (int i = 0; i < count; i++) ask(&all[i], 1, t);
    while (total < until) {
        int n = epoll_wait(epoll_fd, events, EVENTS, PATIENCE_MS);
        if (n == 0) fail("no reply for five seconds");
        for (int i = 0; i < n; i++) {
            if (events[i].events & EPOLLOUT) flush(events[i].data.ptr);
            if (events[i].events & ~EPOLLOUT) drain(events[i].data.ptr);
        }
    }
}
static void run_idle(void) {
    /* A few connections first, so that what a server loads or allocates once is not counted as per connection. */
    open_all(warm_connections);
    if (touch) touch_all(warm_connections);
    close_all(warm_connections);
    usleep(SETTLE_US);
    double rss = tree_sum(server_pid, rss_of), cpu = tree_sum(server_pid, cpu_of), start = now();
    open_all(connections);
    double took = now() - start;
    cpu = tree_sum(server_pid, cpu_of) - cpu;
    if (touch) touch_all(connections);
    usleep(seconds * 1e6);
    print_common("idle");
    printf(", \"handshakes_per_s\": %.1f", connections / took);
    if (server_pid)
        printf(", \"server_cpu_us_per_handshake\": %.2f, \"bytes_per_connection\": %.1f", cpu * 1e6 / connections,
               (tree_sum(server_pid, rss_of) - rss) / connections);
    puts("}");
}

/* ---- the command line ---- */

static void usage(const char *what) {
    fprintf(stderr, "load: %s\nusage: load echo|fanout|idle HOST PORT PATH [-c N] [-s BYTES] [-d N] ", what);
    fputs("[-t S] [-w S] [-n N] [-p PID] [-bzekx]\n", stderr);
    exit(2);
}
static void parse_options(int argc, char **argv) {
    static const struct option options[] = {
        {"connections", 1, 0, 'c'}, {"size", 1, 0, 's'}, {"depth", 1, 0, 'd'}, {"seconds", 1, 0, 't'}, {"warmup", 1, 0, 'w'},
        {"messages", 1, 0, 'n'},    {"pid", 1, 0, 'p'},  {"binary", 0, 0, 'b'}, {"deflate", 0, 0, 'z'}, {"tls", 0, 0, 'e'},
        {"check", 0, 0, 'k'},       {"touch", 0, 0, 'x'}, {0, 0, 0, 0}};
    for (int o; (o = getopt_long(argc, argv, "c:s:d:t:w:n:p:bzekx", options, NULL)) != -1;) {
        switch (o) {
        case 'c': connections = atoi(optarg); break;
        case 's': size = strtoul(optarg, NULL, 10); break;
        case 'd': depth = atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 'w': warmup = atof(optarg); break;
        case 'n': message_limit = strtoull(optarg, NULL, 10); break;
        case 'p': server_pid = atol(optarg); break;
        case 'b': binary = true; break;
        case 'z': deflated = true; break;
        case 'e': use_tls = true; break;
        case 'k': checked = true; break;
        case 'x': touch = true; break;
        default: usage("unknown option");
        }
    }
    if (argc - optind != 4) usage("a mode, HOST, PORT and PATH are needed");
    const char *name = argv[optind];
    mode = !strcmp(name, "echo") ? ECHO_MODE : !strcmp(name, "fanout") ? FANOUT_MODE : IDLE_MODE;
    if (mode == IDLE_MODE && strcmp(name, "idle")) usage("the mode is echo, fanout or idle");
    host = argv[optind + 1], port = atoi(argv[optind + 2]), path = argv[optind + 3];
    struct in_addr address;
    if (inet_pton(AF_INET, host, &address) != 1 || ntohl(address.s_addr) >> 24 != 127) usage("HOST is an address in 127.0.0.0/8");
    if (seconds < 0) seconds = mode == IDLE_MODE ? 1 : 3;
    if (connections < 1 || connections > MAX_CONNECTIONS || size > MAX_SIZE || depth < 1 || depth > MAX_DEPTH || seconds > MAX_SECONDS ||
        warmup < 0 || warmup > MAX_SECONDS || (double)size * depth > (1u << 29)) usage("an option is out of bounds");
    warm_connections = connections < WARM_CONNECTIONS ? connections : WARM_CONNECTIONS;
}
int main(int argc, char **argv) {
    parse_options(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (use_tls) tls_prepare();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    all = room(connections * sizeof *all);
    build_train(depth, size, binary, deflated, checked);
    inflated = checked ? room(size + 1) : NULL;
    if (mode == IDLE_MODE) run_idle();
    else run_messages();
    return 0;
}
