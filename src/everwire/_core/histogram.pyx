"""How often durations of each length occurred, in bounded memory and to a stated precision.

A cell is as wide as a 256th of what it counts, or narrower, as in the histograms of HdrHistogram: percentiles are right to
0.2 %, from a nanosecond to more than an hour, however many durations there are.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

cdef enum:
    FINE = 256                          # cells for each doubling of the value
    SHIFTS = 34
    CELLS = (SHIFTS + 1) * FINE

cdef int64_t MOST = (<int64_t>1 << 42) - 1      # nanoseconds that the last cell ends with: 73 minutes


cdef inline size_t cell_of(int64_t value) noexcept nogil:
    cdef size_t shift = 0
    while (value >> shift) >= 32 * FINE:
        shift += 4
    while (value >> shift) >= 2 * FINE:
        shift += 1
    return shift * FINE + <size_t>(value >> shift)


cdef inline int64_t middle_of(size_t cell) noexcept nogil:
    cdef size_t shift = cell / FINE - 1 if cell >= 2 * FINE else 0
    cdef int64_t lowest = <int64_t>(cell - shift * FINE) << shift
    return lowest + ((<int64_t>1 << shift) >> 1)


cdef class Histogram:
    """Durations in nanoseconds, counted by length; what is longer than 73 minutes counts as that.

    Attributes:
        count: durations recorded.
        minimum, maximum: the shortest and the longest of them, exactly; 0 before the first.
    """

    def __cinit__(self):
        self.cells = <uint64_t*>calloc(CELLS, sizeof(uint64_t))
        if not self.cells:
            raise MemoryError

    def __dealloc__(self):
        free(self.cells)

    cdef void add(self, int64_t value, uint64_t times) noexcept nogil:
        if value < 0:
            value = 0
        elif value > MOST:
            value = MOST
        if not self.count or value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value
        self.cells[cell_of(value)] += times
        self.count += times
        self.total += <double>value * times

    cdef int64_t value_at(self, uint64_t rank) noexcept nogil:
        """The length of the duration with this rank, of which the shortest has 1."""
        cdef uint64_t seen = 0
        cdef size_t cell
        if rank >= self.count:
            return self.maximum
        for cell in range(<size_t>CELLS):
            seen += self.cells[cell]
            if seen >= rank:
                return min(max(middle_of(cell), self.minimum), self.maximum)
        return self.maximum

    def record(self, int64_t value, uint64_t times=1):
        """Count a duration, so many times."""
        if times:
            self.add(value, times)

    def quantile(self, double share) -> int:
        """Return the duration that this share of all, 0 to 1, does not exceed; 0 if there are none.

        Raises:
            ValueError: it is no such share.
        """
        cdef double exact
        cdef uint64_t rank
        if not 0 <= share <= 1:
            raise ValueError(f"a share is a number from 0 to 1, not {share!r}")
        exact = share * self.count
        rank = <uint64_t>exact
        if rank < exact or not rank:
            rank += 1
        return self.value_at(rank) if self.count else 0

    @property
    def mean(self) -> float:
        """The mean of all durations, 0 if there are none."""
        return self.total / self.count if self.count else 0.0

    def merge(self, Histogram other not None):
        """Count what another histogram has counted, too."""
        cdef size_t cell
        if not other.count:
            return
        self.minimum = min(self.minimum, other.minimum) if self.count else other.minimum
        self.maximum = max(self.maximum, other.maximum)
        self.count += other.count
        self.total += other.total
        for cell in range(<size_t>CELLS):
            self.cells[cell] += other.cells[cell]

    def dump(self) -> list:
        """Return it as numbers for :meth:`load`: shortest, longest, sum, then each cell that counts, and its count."""
        cdef size_t cell
        cdef list numbers = [self.minimum, self.maximum, self.total]
        for cell in range(<size_t>CELLS):
            if self.cells[cell]:
                numbers += (cell, self.cells[cell])
        return numbers

    @staticmethod
    def load(list numbers not None) -> Histogram:
        """Make the histogram that was dumped.

        Raises:
            ValueError: these numbers are not of a histogram.
        """
        cdef Histogram made = Histogram()
        cdef Py_ssize_t i
        cdef size_t cell
        if len(numbers) < 3 or not len(numbers) % 2:
            raise ValueError("a histogram is three numbers, then pairs of a cell and its count")
        for i in range(3, len(numbers), 2):
            cell = numbers[i]
            if cell >= CELLS:
                raise ValueError(f"a histogram has {CELLS} cells, and none with the number {cell}")
            made.cells[cell] = numbers[i + 1]
            made.count += made.cells[cell]
        made.minimum, made.maximum, made.total = numbers[0], numbers[1], numbers[2]
        return made
