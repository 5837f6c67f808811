from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

cdef extern from "kernels.h" nogil:
    ctypedef struct ew_utf8:
        uint8_t due, low, high
    uint8_t ew_mask(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key, size_t phase)
    uint8_t ew_copy(uint8_t* dst, const uint8_t* src, size_t n)
    int ew_utf8_feed(ew_utf8* state, const uint8_t* p, size_t n)
    void ew_kernels_choose()
    const char* ew_kernel_name
    uint8_t ew_mask_words(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key)
    uint32_t ew_rotate_key(uint32_t key, size_t phase)
