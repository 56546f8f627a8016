"""How long a request will take: medians of what the latest ones took, by stage."""

from __future__ import annotations

from collections import deque
from statistics import median

# Medians of the latest so many: one slow run (a page fault, a neighbour's burst) moves nothing, a change of load shows
# within as many runs.
SAMPLES = 32
# An estimate that nothing has confirmed for so long refuses nobody: the one admitted next measures anew.
FRESH_S = 1.0
# Durations beyond so many medians count as so many: where runs vary that much, refusing all would help nobody.
SPREAD = 2.5


class Recent:
    """The latest values of one duration."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=SAMPLES)
        self._typical: float | None = 0.0
        self._reliable: float | None = 0.0
        self._least: float | None = 0.0

    def add(self, seconds: float) -> None:
        """Take one more value into account; what it changes is computed when it is asked for, which few requests do."""
        self._values.append(seconds)
        self._typical = self._reliable = self._least = None

    @property
    def typical(self) -> float:
        """Their median, seconds; 0 before the first."""
        if self._typical is None:
            self._typical = median(self._values)
        return self._typical

    @property
    def reliable(self) -> float:
        """What all but the slowest did not exceed, ``SPREAD`` medians at most, seconds; 0 before the first."""
        if self._reliable is None:
            self._reliable = min(sorted(self._values)[-2:][0], SPREAD * self.typical)
        return self._reliable

    @property
    def least(self) -> float:
        """The smallest, seconds; 0 before the first."""
        if self._least is None:
            self._least = min(self._values)
        return self._least


class ServiceTimes:
    """Durations of one model version's stages as they were lately; wall-clock, so contention for cores is in them."""

    def __init__(self, *, slots: int, max_size: int, pixel_threads: int, whole_images: bool = False) -> None:
        """``slots`` runs at once of ``max_size`` rows at most, fed by ``pixel_threads``.

        ``whole_images``: nothing feeds runs of images, each decodes and finishes its own.
        """
        self._slots = slots
        self._whole_images = whole_images
        self._max_size = max_size
        self._pixel_threads = pixel_threads
        self._row_s: dict[int, Recent] = {}  # of one row, by size class of its run
        self._any_row = Recent()  # of one row, whatever the size of its run
        self._prepare = Recent()
        self._finish = Recent()
        self._confirmed = -FRESH_S

    def ran(self, rows: int, seconds: float, *, now: float) -> None:
        """A run of so many rows took so long."""
        size = _size_class(rows)
        if size not in self._row_s:
            self._row_s[size] = Recent()
        self._row_s[size].add(seconds / rows)
        self._any_row.add(seconds / rows)
        self._confirmed = now

    def pixels(self, *, prepare_s: float, finish_s: float) -> None:
        """An image took so long before its run (decoding, preprocessing) and after it."""
        self._prepare.add(prepare_s)
        self._finish.add(finish_s)

    def is_fresh(self, now: float) -> bool:
        """Whether a run has ended lately, so that the estimates hold."""
        return now - self._confirmed < FRESH_S

    def run_s(self, rows: int) -> float:
        """Typical seconds of a run of so many rows; 0 where nothing is known."""
        return rows * self._recent(rows).typical

    def least_run_s(self, rows: int) -> float:
        """The fewest seconds that a run of so many rows took lately; 0 where nothing is known."""
        return rows * self._recent(rows).least

    def reliable_left_s(self, rows: int, *, image: bool) -> float:
        """Seconds within which nearly all runs of so many rows end, and an image's answer is made of it."""
        return rows * self._recent(rows).reliable + (self._finish.typical if image else 0.0)

    @property
    def reliable_image_s(self) -> float:
        """Seconds within which nearly all images are decoded, run and finished that wait for nothing."""
        return self._prepare.typical + self._any_row.reliable + self._finish.typical

    def least_s(self, rows: int, *, image: bool) -> float:
        """The fewest seconds in which an idle server answers; 0 where nothing is known."""
        if image and self._whole_images:
            run_s = min(self.least_run_s(1), self._any_row.least)  # lone images are rare under load
        else:
            run_s = self.least_run_s(min(rows, self._max_size))
        return run_s + (self._prepare.least + self._finish.least if image else 0.0)

    def answer_s(self, rows: int, *, image: bool, rows_ahead: int, rows_running: int) -> float:
        """Seconds to an answer behind others: its wait as it typically is, its own run as nearly all are.

        Half of what runs is taken as done, and its own run holds its share of those ahead. The slower of the two
        stages sets the pace: rows leave ``slots`` at a time, images enter ``pixel_threads`` at a time. Whole images
        have one stage.
        """
        if image and self._whole_images:
            image_s = self._prepare.typical + self._any_row.typical + self._finish.typical
            return (rows_ahead + rows_running / 2) * image_s / self._slots + self.reliable_image_s
        full_row_s = self._recent(self._max_size).typical
        wait_s = (rows_ahead + rows_running / 2) * full_row_s / self._slots
        size = min(self._max_size, -(-(rows_ahead + rows) // self._slots))
        own_s = size * self._recent(size).reliable * -(-rows // (self._max_size * self._slots))
        if not image:
            return wait_s + own_s
        fed_s = rows_ahead * self._prepare.typical / self._pixel_threads
        return max(wait_s, fed_s) + self._prepare.typical + own_s + self._finish.typical

    def _recent(self, rows: int) -> Recent:
        """Durations of the size class of so many rows, or of the nearest that is known."""
        wanted = _size_class(rows)
        if wanted in self._row_s:
            return self._row_s[wanted]
        if not self._row_s:
            return Recent()
        return self._row_s[min(self._row_s, key=lambda size: abs(size - wanted))]


def _size_class(rows: int) -> int:
    """0 for one row, 1 for two, 2 for up to four, 3 for up to eight and so on."""
    return (rows - 1).bit_length()
