/* A timer that is a file descriptor, precise to some microseconds: event loops wait in whole milliseconds. Linux only. */
#ifndef EVERWIRE_TIMER_H
#define EVERWIRE_TIMER_H

#include <errno.h>
#include <stdint.h>

#ifdef __linux__
#include <sys/timerfd.h>
#include <unistd.h>

static int ew_timer_open(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC); }

/* Has the descriptor become readable at this time, in nanoseconds of the monotonic clock; takes an earlier request back. */
static int ew_timer_set(int fd, int64_t when)
{
    struct itimerspec at = {{0, 0}, {when / 1000000000, when % 1000000000}};
    return timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, 0);
}

static void ew_timer_close(int fd) { close(fd); }
#else
static int ew_timer_open(void) { errno = ENOSYS; return -1; }
static int ew_timer_set(int fd, int64_t when) { (void)fd; (void)when; return -1; }
static void ew_timer_close(int fd) { (void)fd; }
#endif
#endif
