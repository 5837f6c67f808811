/* The OpenSSL that Python's ssl module is linked to, called without Python between.

   Nothing is linked here and no header of OpenSSL is needed: the functions are looked up in the library that is loaded
   already. Where that cannot be done (a static OpenSSL, another layout), ew_ssl_of() finds nothing, and the methods of
   ssl.SSLObject and ssl.MemoryBIO are used. */
#ifndef EVERWIRE_OPENSSL_H
#define EVERWIRE_OPENSSL_H

#include <Python.h>
#include <limits.h>

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

enum { EW_SSL_WANT_READ = 2, EW_SSL_ZERO_RETURN = 6 };    /* of SSL_get_error(3) */

typedef struct {
    int (*read)(void *, void *, int);
    int (*write)(void *, const void *, int);
    int (*error)(const void *, int);
    void *(*input)(const void *);
    void *(*output)(const void *);
    int (*bio_read)(void *, void *, int);
    int (*bio_write)(void *, const void *, int);
    size_t (*bio_pending)(void *);
    void (*clear_errors)(void);
    unsigned long (*last_error)(void);
    const char *(*reason)(unsigned long);
} ew_openssl;

static ew_openssl ew_ssl;

/* Look the functions up in what the module at *path* is linked to; 0 if one is missing. */
static int ew_ssl_load(const char *path)
{
#if defined(_WIN32)
    return 0;
#else
    static const char *const names[] = {
        "SSL_read", "SSL_write", "SSL_get_error", "SSL_get_rbio", "SSL_get_wbio", "BIO_read", "BIO_write",
        "BIO_ctrl_pending", "ERR_clear_error", "ERR_peek_last_error", "ERR_reason_error_string",
    };
    void **slots = (void **)&ew_ssl;
    size_t i;
    void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    if (!library)
        return 0;
    for (i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (!(slots[i] = dlsym(library, names[i])))
            return 0;
    return 1;
#endif
}

/* How CPython's _ssl._SSLSocket begins, from 3.7 on at least. */
typedef struct {
    PyObject_HEAD
    PyObject *socket;
    void *ssl;
    PyObject *context;
} ew_ssl_socket;

/* The SSL of a _SSLSocket between two memory BIOs; NULL if the object is not laid out so: one with these neighbours is. */
static void *ew_ssl_of(PyObject *inner, PyObject *context)
{
    ew_ssl_socket *s = (ew_ssl_socket *)inner;
    if (Py_TYPE(inner)->tp_basicsize < (Py_ssize_t)sizeof(ew_ssl_socket))
        return NULL;
    if (s->socket != NULL || s->context != context)
        return NULL;
    return s->ssl;
}

static int ew_ssl_some(size_t n)
{
    return n > INT_MAX ? INT_MAX : (int)n;
}

#endif
