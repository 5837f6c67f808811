from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "net.h" nogil:
    const int EW_READ, EW_WRITE, EW_EVENTS, EW_POLLER, EW_TICKS_A_SECOND
    ctypedef struct ew_event:
        uint64_t token
        int what
    cdef struct iovec:
        void* iov_base
        size_t iov_len
    int ew_poller_open()
    int ew_poller_set(int poller, int fd, uint64_t token, int old, int what)
    int ew_poller_wait(int poller, ew_event* out, int max)
    ctypedef struct ew_address:
        uint16_t family, port
        uint32_t scope
        uint8_t bytes[16]
    int ew_accept(int fd, ew_address* out)
    void ew_peer(int fd, ew_address* out)
    void ew_no_delay(int fd)
    void ew_user_timeout(int fd, unsigned milliseconds)
    void ew_no_sigpipe(int fd)
    ssize_t ew_recv(int fd, void* p, size_t n)
    ssize_t ew_recv2(int fd, void* p, size_t n, void* q, size_t m)
    ssize_t ew_send(int fd, const void* p, size_t n)
    ssize_t ew_sendv(int fd, iovec* v, int n)
    ssize_t ew_recv_waiting(int fd, void* p, size_t n)
    ssize_t ew_recv_now(int fd, void* p, size_t n)
    ssize_t ew_sendv_now(int fd, iovec* v, int n)
    int ew_wait(int fd, int what, double seconds)
    void ew_close(int fd)
    void ew_shutdown(int fd)
    void ew_shutdown_write(int fd)
    void ew_reset_on_close(int fd)
    int ew_again(int e)
    double ew_seconds()
    uint32_t ew_ticks()
