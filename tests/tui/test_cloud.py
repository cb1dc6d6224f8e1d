"""The cloud's screen: machines and money, and commands that end what costs."""

import os
import time
from decimal import Decimal
from pathlib import Path

import pytest
from textual.pilot import Pilot

from stylizer.backend import Meter, Node
from stylizer.config import Config, load_config
from stylizer.estimate import Measurement
from stylizer.jobs import Clip
from stylizer.ledger import Money
from tests.jobs_for_tests import clip, look
from tests.tui.canned import NOON, fill
from tests.tui.test_rooms import drive, is_open, shown, until
from tui.app import Studio
from tui.now import Now
from tui.screens.ask import Ask, Command
from tui.screens.cloud import Cloud, Rented, money, nodes, rented, total
from tui.screens.offers import offers


def node(name: str, state: str = "running", price: str = "1.50") -> Node:
    return Node(name, state, "a GPU", True, NOON - 90, Decimal(price))


def meter(job: int, spent: str, *machines: Node, final: bool = False) -> Money:
    per_hour = sum((one.price_per_hour for one in machines), Decimal(0))
    return Money("azure", Meter(job, Decimal(spent), per_hour, "USD", "a list", NOON, machines, final), Decimal(spent))


def found(*paid: Money, limit: float = 0.0, a_day: float = 0.0) -> Rented:
    jobs = [one.meter.job for one in paid]
    today = sum((one.today for one in paid), Decimal(0))
    return Rented(paid, dict.fromkeys(jobs, "a clip [raw].mp4"), dict.fromkeys(jobs, limit), {}, today, a_day, NOON)


def test_machines_are_in_the_order_of_their_state_and_costs_are_summed() -> None:
    machines = (node("a", "preempted", "0"), node("b", "starting"), node("c"), node("d", "reimaging"))
    it = found(meter(1, "2.00", *machines), meter(2, "0.40", final=True), a_day=3.0)
    assert [one.split()[1] for one in nodes(it, 100).plain.splitlines()] == ["c", "b", "a", "d"]
    assert "1m 30s" in nodes(it, 100).plain
    words = total(it, 100).plain
    assert "2.40 of 3.00 USD" in words and "4.50 USD an hour now" in words
    assert "1 preempted · 1 reimaging · 1 running · 1 starting · prices: a list" in words
    assert "$warning" in str(total(it, 100).spans)


@pytest.mark.parametrize("width", [75, 115, 155])
def test_every_line_fits(width: int) -> None:
    it = found(meter(1, "12345.67", *(node(f"tvmps_{n:032x}") for n in range(9))), limit=99999.0, a_day=99999.0)
    for text in (total(it, width), nodes(it, width), money(it, width)):
        assert all(line.cell_length <= width for line in text.split("\n"))


def test_nothing_rented_is_said() -> None:
    it = found()
    assert "Nothing is rented" in total(it, 80).plain
    assert "None" in nodes(it, 80).plain


def test_old_clips_are_summed_up() -> None:
    now = Now()
    assert rented(now, Config(), NOON).nodes == []
    paid = [meter(n, "1.00", final=True) for n in range(1, 61)]
    it = Rented(paid, dict.fromkeys(range(21, 61), "a"), dict.fromkeys(range(21, 61), 0.0), {}, Decimal(60), 0.0, NOON)
    assert "and 20 older ones, 20.00 USD in all" in money(it, 100).plain


def test_it_lives_in_the_studio(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        await pilot.press("2")
        await until(pilot, lambda: is_open(app, Cloud) and "salt flats" in shown(app, "#nodes"))
        assert "2.14 of 6.00 USD" in shown(app, "#total")
        assert "2.14 of 5.00 USD" in shown(app, "#money")

    drive(tmp_path, act)


def test_shutting_down_asks_and_shows_what_the_command_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path))

    async def act(pilot: Pilot[None], app: Studio) -> None:
        await pilot.press("2")
        await until(pilot, lambda: is_open(app, Cloud))
        await pilot.press("d")
        await until(pilot, lambda: is_open(app, Ask))
        await pilot.press("n")
        assert isinstance(app.screen, Cloud)
        await pilot.press("d")
        await until(pilot, lambda: is_open(app, Ask))
        await pilot.press("y")
        await until(pilot, lambda: is_open(app, Command) and "exit code" in shown(app, "#end"), 60)
        assert "Azure is not set up" in shown(app, "#spoken")

    drive(tmp_path, act)
    assert os.environ["STYLIZER_HOME"] == str(tmp_path)


def test_imagined_machines_are_not_shut_down_in_azure(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        app.passing = True
        await pilot.press("2")
        await until(pilot, lambda: is_open(app, Cloud))
        await pilot.press("d")
        await until(pilot, lambda: is_open(app, Ask))
        await pilot.press("y")
        await until(pilot, lambda: any("imagined" in toast.message for toast in app._notifications))
        assert is_open(app, Cloud)

    drive(tmp_path, act)


def test_how_many_goes_to_the_settings(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None], app: Studio) -> None:
        await pilot.press("2")
        await until(pilot, lambda: is_open(app, Cloud))
        await pilot.press("m")
        await until(pilot, lambda: is_open(app, Ask))
        await pilot.press("end", "0", "enter")
        await until(pilot, lambda: load_config(app.here.config).azure.nodes == 40)
        assert load_config(app.here.config).place.max_cost_day == 6.0

    drive(tmp_path, act)


def test_offers_are_what_the_estimate_said_and_the_rules_come_first(tmp_path: Path) -> None:
    painted: Clip = clip(tmp_path)
    places = [
        {"backend": "local", "where": "cuda:1", "seconds": 90.0, "cost": "", "basis": "measured"},
        {"backend": "local", "where": "cuda:0", "seconds": 40.0, "cost": "", "basis": "measured"},
        {"backend": "azure", "where": "1 x NC8as_T4_v3 Spot", "seconds": 900.0, "cost": "0.09 USD", "basis": "prices"},
        {"backend": "azure", "where": "4 x NC4as_T4_v3 Spot", "seconds": 400.0, "cost": "0.12 USD", "basis": "prices"},
    ]
    got = offers({"places": places}, painted, look(tmp_path), (), (), Config())
    assert [(one.backend, one.about.partition(" Spot")[0]) for one in got[1:]] == [
        ("local", "cuda:0"),
        ("azure", "4 x NC4as_T4_v3"),
    ]
    assert got[0].backend == "auto"
    assert [one.backend for one in offers({"places": places[:1]}, painted, look(tmp_path), (), (), Config())] == ["local"]
    for width in (34, 50, 80):
        assert all(one.line(width).cell_length <= max(width, 34) for one in got)


def test_a_cloud_that_has_painted_before_is_offered_with_its_prices(tmp_path: Path) -> None:
    known = [Measurement("azure n1", "fp16", 64, 48, 24.0, 0.0, time.time())]
    paid = [meter(1, "1.00", node("n1", price="3.60"))]
    (_, there) = offers({"places": []}, clip(tmp_path), look(tmp_path), known, paid, Config())
    # 240 frames at 4 machines of 24 a second, after five minutes; four machines at 3.60 an hour.
    assert there.seconds == pytest.approx(302.5) and there.cost == "1.21 USD"


def test_the_canned_store_is_as_it_is_told(tmp_path: Path) -> None:
    assert fill(tmp_path).store.exists()
