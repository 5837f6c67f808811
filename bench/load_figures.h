/* What load.c measures with: latencies, and the CPU time and memory of the server's process tree. */
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- latencies: 32 cells for each power of two of nanoseconds, so within 3 % ---- */

static uint32_t latencies[60 * 32];

static void record(double t) {
    uint64_t ns = t > 0 ? t * 1e9 : 0;
    int high = ns < 32 ? 0 : 63 - __builtin_clzll(ns) - 5;
    latencies[high * 32 + (ns >> high)]++;
}
static double percentile(double q) { /* microseconds */
    uint64_t count = 0, sum = 0;
    int cells = sizeof latencies / sizeof *latencies;
    for (int i = 0; i < cells; i++) count += latencies[i];
    for (int i = 0; i < cells; i++) {
        sum += latencies[i];
        if (count && sum >= q * count) {
            int high = i < 64 ? 0 : i / 32 - 1;
            return ((uint64_t)(i - high * 32) << high) * 1e-3;
        }
    }
    return 0;
}

/* ---- the server's process tree ---- */

static double cpu_of(long pid) { /* seconds, all threads, also those that ended */
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) return 0;
    return t.tv_sec + t.tv_nsec * 1e-9;
}
static double rss_of(long pid) { /* bytes; smaps_rollup is exact, status may lag by some pages per core */
    const char *files[] = {"/proc/%ld/smaps_rollup", "/proc/%ld/status"}, *lines[] = {"Rss: %lf", "VmRSS: %lf"};
    double kib = 0;
    for (int i = 0; i < 2 && kib == 0; i++) {
        char name[64], line[256];
        snprintf(name, sizeof name, files[i], pid);
        FILE *f = fopen(name, "r");
        while (f && fgets(line, sizeof line, f)) if (sscanf(line, lines[i], &kib) == 1) break;
        if (f) fclose(f);
    }
    return kib * 1024;
}
static double tree_sum(long pid, double (*of)(long)) {
    if (!pid) return 0;
    double sum = of(pid);
    char pattern[64];
    snprintf(pattern, sizeof pattern, "/proc/%ld/task/*/children", pid);
    glob_t lists;
    if (glob(pattern, GLOB_NOSORT, NULL, &lists)) return sum;
    for (size_t i = 0; i < lists.gl_pathc; i++) {
        FILE *f = fopen(lists.gl_pathv[i], "r");
        long child;
        while (f && fscanf(f, "%ld", &child) == 1) sum += tree_sum(child, of);
        if (f) fclose(f);
    }
    globfree(&lists);
    return sum;
}
