"""The ordeal of tests/torture in short; `make torture` is the long one."""

from pathlib import Path

import pytest

from tests.torture.ordeal import KILLED, Ordeal
from tests.torture.scale import SIZES, measure


@pytest.mark.timeout(240)
def test_nothing_is_lost_whatever_happens(tmp_path: Path) -> None:
    ordeal = Ordeal(tmp_path, seed=5, clips=4)
    try:
        ordeal.calm()
        ordeal.mad(10.0)
        assert ordeal.losses() == []
    finally:
        ordeal.close()
    assert ordeal.toll["jobs"] >= 4 and all(ordeal.toll[name] for name in KILLED)


@pytest.mark.timeout(120)
def test_a_turn_does_not_grow_with_the_queue(tmp_path: Path) -> None:
    few, _, many = SIZES
    found = []
    for name, (jobs, chunks) in (("few", few), ("many", many)):
        (tmp_path / name).mkdir()
        found.append(measure(tmp_path / name, jobs, chunks, turns=120))
    small, big = found
    # The bars are 50 ms, 2 s and 0.2 s on a machine that does nothing else.
    assert big.turn < max(0.05, 4 * small.turn)
    assert big.start < 4.0 and big.status < 0.8
