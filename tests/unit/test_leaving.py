"""When those who are sent away go: spread evenly, whatever their number."""

from bisect import bisect_left

import pytest

from session.leaving import plan


@pytest.mark.parametrize(("count", "seconds"), [(0, 18.0), (1, 18.0), (7, 3.0), (500, 2.0), (15000, 18.0)])
def test_no_second_is_busier_than_planned(count: int, seconds: float) -> None:
    """Wherever a second begins: as many as come of an even spread, and two."""
    delays = sorted(plan(count, seconds))
    busiest = max((bisect_left(delays, delay + 1) - n for n, delay in enumerate(delays)), default=0)

    assert count == len(delays)
    assert all(0 <= delay <= seconds for delay in delays)
    assert busiest <= count / seconds + 2


def test_nobody_waits_where_there_is_no_time() -> None:
    """``--drain-seconds`` of 2 or less is time for the goodbyes only."""
    assert [0.0] * 3 == plan(3, 0.0)


def test_who_came_first_does_not_go_first() -> None:
    """Tabs and devices that came together do not go together."""
    delays = plan(100, 10.0)

    assert sorted(delays) != delays
