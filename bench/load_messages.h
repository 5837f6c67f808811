/* What load.c sends: messages composed, compressed and framed before the clock runs. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static void fail(const char *what);
static void *room(size_t n);
static uint32_t noise(void);

/* ---- the messages: `variants` different ones, sent in turn, framed and masked once, twice in a row in `train` ---- */

static int variants;
static uint8_t **payloads, *train;
static size_t *starts; /* of each frame in the train; starts[i + variants] is the same frame again */

static void compose(uint8_t *out, size_t n, uint32_t number) {
    static const char *users[] = {"mira", "tomasz", "adaeze", "yuki", "lena", "ola"};
    static const char *words[] = {"shipped", "pending", "order", "price", "moved", "above", "limit", "again", "for", "its"};
    char record[512];
    for (size_t at = 0; at < n;) {
        const char *w[6];
        for (int i = 0; i < 6; i++) w[i] = words[noise() % 10];
        uint32_t day = noise() % 28 + 1, hour = noise() % 24, minute = noise() % 60, price = noise() % 900000;
        int k = snprintf(record, sizeof record,
                         "{\"id\":%u,\"user\":\"%s\",\"at\":\"2026-03-%02uT%02u:%02u:07Z\",\"price\":%u.%02u,"
                         "\"tags\":[\"%s\",\"%s\"],\"text\":\"%s %s %s %s\"},",
                         100000 + ++number * 7919 % 899999, users[noise() % 6], day, hour, minute, price / 100, price % 100,
                         w[0], w[1], w[2], w[3], w[4], w[5]);
        size_t take = (size_t)k < n - at ? (size_t)k : n - at;
        memcpy(out + at, record, take);
        at += take;
    }
}
/* Answers the compressed length: raw deflate, flushed, without the trailing 00 00 FF FF (RFC 7692, 7.2.1). */
static size_t compress_message(const uint8_t *data, size_t n, uint8_t *out, size_t out_room) {
    z_stream z = {0};
    if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) fail("deflateInit2");
    z.next_in = (uint8_t *)data, z.avail_in = n, z.next_out = out, z.avail_out = out_room;
    if (deflate(&z, Z_SYNC_FLUSH) != Z_OK || z.avail_in) fail("deflate");
    size_t made = z.total_out - 4;
    deflateEnd(&z);
    return made;
}
static size_t put_frame(uint8_t *out, const uint8_t *data, size_t n, bool binary, bool deflated) {
    size_t k = 0;
    out[k++] = 0x80 | (deflated ? 0x40 : 0) | (binary ? 2 : 1);
    int length_bytes = n < 126 ? 0 : n < 65536 ? 2 : 8;
    out[k++] = 0x80 | (length_bytes == 0 ? n : length_bytes == 2 ? 126 : 127);
    for (int i = length_bytes - 1; i >= 0; i--) out[k++] = (uint64_t)n >> (8 * i);
    uint32_t key = noise();
    uint8_t mask[4];
    memcpy(mask, &key, 4);
    memcpy(out + k, mask, 4);
    k += 4;
    for (size_t i = 0; i < n; i++) out[k++] = data[i] ^ mask[i & 3];
    return k;
}
static void build_train(int depth, size_t size, bool binary, bool deflated, bool checked) {
    variants = depth;
    if ((checked || deflated) && variants < 16) variants = size > 65536 ? depth + 2 : 16;
    size_t body_room = deflated ? 2 * size + 1024 : size, at = 0;
    uint8_t *body = room(body_room + 1);
    payloads = room(variants * sizeof *payloads);
    starts = room((2 * variants + 1) * sizeof *starts);
    train = room(2 * variants * (body_room + 14));
    for (int i = 0; i < variants; i++) {
        uint8_t *payload = payloads[i] = room(size + 1);
        if (binary && checked) for (size_t j = 0; j < size; j++) payload[j] = noise();
        else compose(payload, size, i * 131);
        size_t n = size;
        if (deflated) n = compress_message(payload, size, body, body_room);
        starts[i] = at;
        at += put_frame(train + at, deflated ? body : payload, n, binary, deflated);
    }
    memcpy(train + at, train, at);
    for (int i = 0; i <= variants; i++) starts[i + variants] = at + (i < variants ? starts[i] : at);
    free(body);
}
