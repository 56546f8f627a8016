"""Which cases prove an export: batches of 1, 2 and the largest, and rows of other sizes where they are free."""

from __future__ import annotations

from pipelines.grid import Case

SEVERAL = 2
# A sample is squeezed into the other sizes: at a quarter of its own, trees of 40 pixels were too small to be found.
STILL_FOUND = 0.75


def cases_of(*, samples: int, max_batch: int, sizes: tuple[tuple[int, int], ...]) -> tuple[Case, ...]:
    """Batches of 1, 2 and ``max_batch`` at every size: of the first sample at the recipe's own, of one each elsewhere.

    Further samples run alone at the recipe's own size. ``max_batch`` 1 is a graph whose batch is fixed: nothing else
    is asked of it.
    """
    batches = sorted({SEVERAL, max_batch}) if max_batch > 1 else []
    cases = [Case(sample, 1) for sample in range(samples)]
    cases += [Case(0, batch) for batch in batches]
    for i, size_hw in enumerate(sizes):
        cases += [Case(i % samples, batch, size_hw) for batch in (1, *batches)]
    return tuple(cases)


def telling_side(row_hw: tuple[int, int]) -> int:
    """Shortest side at which a learnt detector is asked to find something of what it finds in rows of ``row_hw``."""
    return int(STILL_FOUND * min(row_hw))


def other_sizes(row_hw: tuple[int, int], *, multiple_of: int | None, least: int) -> tuple[tuple[int, int], ...]:
    """Row sizes that a module with free sides must take: small ones, since what is wrong does not need a large one.

    With any side allowed: odd and not square, portrait with one odd side, and landscape that is no multiple of 32.
    With multiples: an odd and an even number of them, portrait and landscape. None where the size is fixed.
    """
    if multiple_of is None:
        return ()
    if multiple_of == 1:
        base = max(least, 48)
        sizes = [(base + 17, base + 48 + 3), (base + 47, base + 10), (base + 10, base + 72)]
    else:
        units = max(2, -(-least // multiple_of))
        sizes = [(units * multiple_of, (units + 3) * multiple_of), ((units + 1) * multiple_of, units * multiple_of)]
    return tuple(size for size in sizes if size != row_hw)
