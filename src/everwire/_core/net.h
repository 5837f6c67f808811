/* What the reactor needs of the operating system: a set of descriptors to wait for, and sockets.

   EW_POLLER is 0 where there is neither epoll nor kqueue; everything else then runs on asyncio's transports. */
#ifndef EVERWIRE_NET_H
#define EVERWIRE_NET_H

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define EW_READ 1
#define EW_WRITE 2
#define EW_EVENTS 256

/* An IPv4 or IPv6 address in little room: there is one in every connection. */
typedef struct {
    uint16_t family, port;
    uint32_t scope;
    uint8_t bytes[16];
} ew_address;

typedef struct {
    uint64_t token;
    int what;
} ew_event;

#if defined(__linux__) && !defined(EVERWIRE_KQUEUE)
#define EW_POLLER 1
#define EW_EPOLL 1
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__) || defined(EVERWIRE_KQUEUE)
#define EW_POLLER 1
#define EW_KQUEUE 1
#else
#define EW_POLLER 0
#endif

#if EW_POLLER
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#ifdef EW_EPOLL
#include <sys/epoll.h>
#else
#include <sys/event.h>
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

static int ew_poller_open(void)
{
#ifdef EW_EPOLL
    return epoll_create1(EPOLL_CLOEXEC);
#else
    int fd = kqueue();
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
#endif
}

/* Changes what is waited for on fd from `old` to `what` (EW_READ | EW_WRITE; 0 removes it). */
static int ew_poller_set(int poller, int fd, uint64_t token, int old, int what)
{
#ifdef EW_EPOLL
    struct epoll_event e;
    memset(&e, 0, sizeof e);
    e.events = (what & EW_READ ? EPOLLIN : 0) | (what & EW_WRITE ? EPOLLOUT : 0);
    e.data.u64 = token;
    return epoll_ctl(poller, !old ? EPOLL_CTL_ADD : !what ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, &e);
#else
    struct kevent e[2];
    int n = 0;
    if ((what ^ old) & EW_READ) {
        EV_SET(&e[n], fd, EVFILT_READ, what & EW_READ ? EV_ADD : EV_DELETE, 0, 0, (void *)(uintptr_t)token);
        n++;
    }
    if ((what ^ old) & EW_WRITE) {
        EV_SET(&e[n], fd, EVFILT_WRITE, what & EW_WRITE ? EV_ADD : EV_DELETE, 0, 0, (void *)(uintptr_t)token);
        n++;
    }
    return n ? kevent(poller, e, n, NULL, 0, NULL) : 0;
#endif
}

/* Gathers what is ready now, without waiting. */
static int ew_poller_wait(int poller, ew_event *out, int max)
{
#ifdef EW_EPOLL
    struct epoll_event e[EW_EVENTS];
    int n = epoll_wait(poller, e, max < EW_EVENTS ? max : EW_EVENTS, 0);
    for (int i = 0; i < n; i++) {
        out[i].token = e[i].data.u64;
        out[i].what = (e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? EW_READ : 0) |
                      (e[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR) ? EW_WRITE : 0);
    }
#else
    struct kevent e[EW_EVENTS];
    struct timespec none = {0, 0};
    int n = kevent(poller, NULL, 0, e, max < EW_EVENTS ? max : EW_EVENTS, &none);
    for (int i = 0; i < n; i++) {
        out[i].token = (uint64_t)(uintptr_t)e[i].udata;
        out[i].what = e[i].filter == EVFILT_WRITE ? EW_WRITE : EW_READ;
    }
#endif
    return n;
}

static void ew_no_sigpipe(int fd)
{
#ifdef SO_NOSIGPIPE
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof one);
#else
    (void)fd;
#endif
}

static void ew_address_of(const struct sockaddr_storage *a, ew_address *out)
{
    memset(out, 0, sizeof *out);
    out->family = a->ss_family;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a;
        out->port = ntohs(in->sin_port);
        memcpy(out->bytes, &in->sin_addr, 4);
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)a;
        out->port = ntohs(in6->sin6_port);
        out->scope = in6->sin6_scope_id;
        memcpy(out->bytes, &in6->sin6_addr, 16);
    }
}

static void ew_peer(int fd, ew_address *out)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    memset(&a, 0, sizeof a);
    if (getpeername(fd, (struct sockaddr *)&a, &n))
        a.ss_family = 0;
    ew_address_of(&a, out);
}

/* The next connection of a listening socket, non-blocking; its family and the peer's address go to *out. */
static int ew_accept(int fd, ew_address *out)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    memset(&a, 0, sizeof a);
#ifdef __linux__
    int got = accept4(fd, (struct sockaddr *)&a, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int got = accept(fd, (struct sockaddr *)&a, &n);
    if (got >= 0) {
        fcntl(got, F_SETFL, O_NONBLOCK);
        fcntl(got, F_SETFD, FD_CLOEXEC);
    }
#endif
    if (got >= 0) {
        ew_no_sigpipe(got);
        ew_address_of(&a, out);
    }
    return got;
}

static void ew_no_delay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Ends a connection whose peer has acknowledged nothing for so long, though there is something to acknowledge. */
static void ew_user_timeout(int fd, unsigned milliseconds)
{
#ifdef TCP_USER_TIMEOUT
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
#endif
}

static ssize_t ew_recv(int fd, void *p, size_t n)
{
    ssize_t got;
    do
        got = recv(fd, p, n, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t ew_recv2(int fd, void *p, size_t n, void *q, size_t m)
{
    struct iovec v[2] = {{p, n}, {q, m}};
    ssize_t got;
    do
        got = readv(fd, v, 2);
    while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t ew_send(int fd, const void *p, size_t n)
{
    ssize_t got;
    do
        got = send(fd, p, n, MSG_NOSIGNAL);
    while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t ew_sendv(int fd, struct iovec *v, int n)
{
    struct msghdr m;
    ssize_t got;
    memset(&m, 0, sizeof m);
    m.msg_iov = v;
    m.msg_iovlen = n;
    do
        got = sendmsg(fd, &m, MSG_NOSIGNAL);
    while (got < 0 && errno == EINTR);
    return got;
}

/* For threads, which wait in the system itself: neither goes on by itself after a signal. */

static ssize_t ew_recv_waiting(int fd, void *p, size_t n) { return recv(fd, p, n, 0); }
static ssize_t ew_recv_now(int fd, void *p, size_t n) { return recv(fd, p, n, MSG_DONTWAIT); }

static ssize_t ew_sendv_now(int fd, struct iovec *v, int n)
{
    struct msghdr m;
    if (n == 1)
        return send(fd, v->iov_base, v->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    memset(&m, 0, sizeof m);
    m.msg_iov = v;
    m.msg_iovlen = n;
    return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Waits until fd can do something of `what`, or has ended: what it can do then, 0 when the seconds are over. */
static int ew_wait(int fd, int what, double seconds)
{
    struct pollfd p;
    int n;
    p.fd = fd;
    p.events = (what & EW_READ ? POLLIN : 0) | (what & EW_WRITE ? POLLOUT : 0);
    p.revents = 0;
    n = poll(&p, 1, seconds > 1e6 ? 1000000000 : seconds > 0 ? (int)(seconds * 1000) + 1 : 0);
    if (n <= 0)
        return n;
    return (p.revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL) ? what & EW_READ : 0) |
           (p.revents & (POLLOUT | POLLHUP | POLLERR | POLLNVAL) ? what & EW_WRITE : 0);
}

static void ew_close(int fd) { close(fd); }
static void ew_shutdown(int fd) { shutdown(fd, SHUT_RDWR); }
static void ew_shutdown_write(int fd) { shutdown(fd, SHUT_WR); }
static void ew_reset_on_close(int fd)
{
    struct linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}
static int ew_again(int e) { return e == EAGAIN || e == EWOULDBLOCK; }

#else /* no poller: these are never reached, and keep the callers free of conditions */

#include <stddef.h>
#include <time.h>
typedef ptrdiff_t ssize_t;
struct iovec { void *iov_base; size_t iov_len; };
static int ew_poller_open(void) { return -1; }
static int ew_poller_set(int a, int b, uint64_t c, int d, int e) { return -1; }
static int ew_poller_wait(int a, ew_event *b, int c) { return 0; }
static int ew_accept(int a, ew_address *b) { return -1; }
static void ew_peer(int a, ew_address *b) { memset(b, 0, sizeof *b); }
static void ew_no_delay(int a) {}
static void ew_no_sigpipe(int a) {}
static void ew_user_timeout(int a, unsigned b) {}
static ssize_t ew_recv(int a, void *b, size_t c) { return -1; }
static ssize_t ew_recv2(int a, void *b, size_t c, void *d, size_t e) { return -1; }
static ssize_t ew_send(int a, const void *b, size_t c) { return -1; }
static ssize_t ew_sendv(int a, struct iovec *b, int c) { return -1; }
static ssize_t ew_recv_waiting(int a, void *b, size_t c) { return -1; }
static ssize_t ew_recv_now(int a, void *b, size_t c) { return -1; }
static ssize_t ew_sendv_now(int a, struct iovec *b, int c) { return -1; }
static int ew_wait(int a, int b, double c) { return -1; }
static void ew_close(int a) {}
static void ew_shutdown(int a) {}
static void ew_shutdown_write(int a) {}
static void ew_reset_on_close(int a) {}
static int ew_again(int e) { return 0; }
#endif

static struct timespec ew_time(void)
{
    struct timespec t;
#ifdef CLOCK_MONOTONIC
    clock_gettime(CLOCK_MONOTONIC, &t);
#else
    timespec_get(&t, TIME_UTC);
#endif
    return t;
}

/* Monotonic time in seconds. */
static double ew_seconds(void)
{
    struct timespec t = ew_time();
    return (double)t.tv_sec + t.tv_nsec * 1e-9;
}

/* Monotonic time in ticks of 1/16 second. */
#define EW_TICKS_A_SECOND 16
static uint32_t ew_ticks(void)
{
    struct timespec t = ew_time();
    return (uint32_t)(t.tv_sec * EW_TICKS_A_SECOND + t.tv_nsec / (1000000000 / EW_TICKS_A_SECOND));
}

#endif
