"""Prices from a server that answers as the Retail Prices API does, traps and all, and from the table where there is none."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backends.azure import prices as module
from backends.azure.prices import price_of, prices, size_of, sizes
from stylizer.errors import ConfigError

T4, A100 = "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4"
TODAY = f"{datetime.now(UTC):%Y-%m-%d}"


@dataclass
class Retail:
    """The API, as far as we use it: filters, and two rows a page."""

    rows: list[dict[str, Any]]
    asked: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[], tuple[int, bytes, dict[str, str]]] | None = None
    """Given instead of a page."""
    url: str = ""

    def page(self, query: str) -> bytes:
        asked = dict(urllib.parse.parse_qsl(query))
        self.asked.append(asked)
        wanted: dict[str, str] = dict(re.findall(r"(\w+) eq '([^']*)'", asked["$filter"]))
        names = {"priceType": "type"}
        rows = [row for row in self.rows if all(row.get(names.get(key, key)) == value for key, value in wanted.items())]
        rows = [row for row in rows if row["currencyCode"] == asked["currencyCode"].strip("'")]
        start = int(asked.get("$skip", 0))
        following = None
        if len(rows) > start + 2:
            following = f"{self.url}?{urllib.parse.urlencode({**asked, '$skip': start + 2})}"
        body = {
            "BillingCurrency": "USD",
            "CustomerEntityId": "Default",
            "CustomerEntityType": "Retail",
            "Items": rows[start : start + 2],
            "NextPageLink": following,
            "Count": len(rows[start : start + 2]),
        }
        return json.dumps(body).encode()


def row(price: object, *, size: str = T4, **other: Any) -> dict[str, Any]:
    made = {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": "eastus",
        "location": "US East",
        "effectiveStartDate": "2021-07-01T00:00:00Z",
        "meterName": "NC4as T4 v3",
        "productName": "Virtual Machines NCasT4_v3 Series",
        "skuName": "NC4as T4 v3",
        "serviceName": "Virtual Machines",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": size,
    }
    return {**made, **other}


NEWER = "2025-02-01T00:00:00Z"
"""Of rows that would win if they were taken for ours."""
WINDOWS = "Virtual Machines NCasT4_v3 Series Windows"
ROWS = [
    row(0.9, productName=WINDOWS, effectiveStartDate=NEWER),
    row(0.11, skuName="NC4as T4 v3 Low Priority", meterName="NC4as T4 v3 Low Priority", effectiveStartDate=NEWER),
    row(0.25, productName=WINDOWS, skuName="NC4as T4 v3 Spot", meterName="NC4as T4 v3 Spot", effectiveStartDate=NEWER),
    row(0.6, productName="NCasT4_v3 Series CloudServices", effectiveStartDate=NEWER),
    row(0.52),
    row(0.526, effectiveStartDate="2024-02-01T00:00:00Z"),
    row(9.9, effectiveStartDate="2999-01-01T00:00:00Z"),
    row(12.0, unitOfMeasure="1 Month", effectiveStartDate=NEWER),
    row(2700.0, type="Reservation", reservationTerm="1 Year", effectiveStartDate=NEWER),
    row(0.3, type="DevTestConsumption", effectiveStartDate=NEWER),
    row(0.4, armRegionName="westeurope"),
    row(0.49, currencyCode="EUR"),
    row(0.0593, skuName="NC4as T4 v3 Spot", meterName="NC4as T4 v3 Spot"),
]


@pytest.fixture
def retail() -> Iterator[Retail]:
    served = Retail(list(ROWS))

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if served.answer:
                code, body, headers = served.answer()
            else:
                code, body, headers = 200, served.page(urllib.parse.urlsplit(self.path).query), {}
            self.send_response(code)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/api/retail/prices"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def test_the_linux_machine_is_found_among_all_that_shares_its_name(retail: Retail, tmp_path: Path) -> None:
    found = prices("eastus", [T4], tmp_path, endpoint=retail.url)
    assert found[T4, False].per_hour == Decimal("0.526")
    assert found[T4, True].per_hour == Decimal("0.0593")
    assert {price.basis for price in found.values()} == {f"Retail Prices API, {TODAY}"}
    assert all(price.live and price.currency == "USD" for price in found.values())
    assert len(retail.asked) > 2
    assert "serviceName eq 'Virtual Machines'" in retail.asked[0]["$filter"]


def test_another_region_and_another_currency_are_asked_for_and_kept_apart(retail: Retail, tmp_path: Path) -> None:
    prices("eastus", [T4], tmp_path, endpoint=retail.url)
    europe = prices("West Europe", [T4], tmp_path, endpoint=retail.url)[T4, False]
    euros = prices("eastus", [T4], tmp_path, endpoint=retail.url, currency="EUR")[T4, False]
    assert (europe.per_hour, europe.currency, europe.live) == (Decimal("0.4"), "USD", True)
    assert (euros.per_hour, euros.currency, euros.live) == (Decimal("0.49"), "EUR", True)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_price_is_asked_for_once_a_day(retail: Retail, tmp_path: Path) -> None:
    first = prices("eastus", [T4], tmp_path, endpoint=retail.url)
    calls = len(retail.asked)
    assert prices("eastus", [T4], tmp_path, endpoint=retail.url) == first
    assert len(retail.asked) == calls
    assert price_of(T4.lower(), "eastus", spot=True, cache=tmp_path) == first[T4, True]
    age(tmp_path, timedelta(days=1, minutes=1))
    prices("eastus", [T4], tmp_path, endpoint=retail.url)
    assert len(retail.asked) == 2 * calls


def test_what_was_fetched_lately_says_its_date_when_the_api_is_away(retail: Retail, tmp_path: Path) -> None:
    prices("eastus", [T4], tmp_path, endpoint=retail.url)
    age(tmp_path, timedelta(days=5))
    then = f"{datetime.now(UTC) - timedelta(days=5):%Y-%m-%d}"
    assert prices("eastus", [T4], tmp_path, endpoint=nowhere())[T4, True].basis == f"Retail Prices API, {then}"
    age(tmp_path, timedelta(days=60))
    assert not prices("eastus", [T4], tmp_path, endpoint=nowhere())[T4, True].live


def test_without_an_answer_the_table_says_that_it_is_one(tmp_path: Path) -> None:
    started = time.monotonic()
    found = prices("westeurope", [T4, A100], tmp_path, endpoint=nowhere(), currency="EUR")
    assert time.monotonic() - started < module.PATIENCE_SECONDS
    for price in found.values():
        assert not price.live
        assert price.currency == "USD"
        assert re.fullmatch(r"catalogue price of 20\d\d-\d\d in eastus \(not live\)", price.basis)
    assert found[A100, False].per_hour == Decimal("3.673")
    assert price_of(T4, "eastus", spot=False).basis == "catalogue price of 2024-12 (not live)"


def test_no_call_is_made_where_none_is_wanted(retail: Retail, tmp_path: Path) -> None:
    found = prices("eastus", [T4], tmp_path, endpoint=retail.url, fetch=False)
    assert not found[T4, True].live
    assert not retail.asked


def test_where_spot_has_no_price_the_dedicated_one_is_the_most_it_can_be(retail: Retail, tmp_path: Path) -> None:
    retail.rows = [row(0.526)]
    found = prices("eastus", [T4], tmp_path, endpoint=retail.url)[T4, True]
    assert found.per_hour == Decimal("0.526")
    assert "at most this dedicated one" in found.basis
    h100 = price_of("Standard_NC40ads_H100_v5", "eastus", spot=True)
    assert h100.per_hour == price_of("Standard_NC40ads_H100_v5", "eastus", spot=False).per_hour
    assert "at most" in h100.basis


@pytest.mark.parametrize(
    "odd",
    [
        row("0.01"),
        row(-0.01),
        row(0),
        row(1e9),
        row(True),
        row(None),
        row([0.01]),
        row(0.6, effectiveStartDate="tomorrow"),
        row(0.6, effectiveStartDate=3),
        row(0.6, skuName=None),
        row(0.6, armSkuName=[T4]),
        "a row",
        None,
        [[]],
    ],
)
def test_rows_that_are_no_rows_are_passed_over(retail: Retail, tmp_path: Path, odd: object) -> None:
    body = json.dumps({"Items": [odd, row(0.5), odd], "NextPageLink": None}).encode()
    retail.answer = lambda: (200, body, {})
    assert prices("eastus", [T4], tmp_path, endpoint=retail.url)[T4, False].per_hour == Decimal("0.5")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"Items": 3}',
        b'{"Items": [NaN]',
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"Items": [row(0.5)], "NextPageLink": "http://192.0.2.1/api/retail/prices"}).encode(),
        json.dumps({"Items": [row(0.5)], "NextPageLink": "file:///etc/passwd"}).encode(),
        json.dumps({"Items": [row(0.5)], "NextPageLink": "http://[/"}).encode(),
        json.dumps({"Items": [row(0.5)], "NextPageLink": 7}).encode(),
        b'{"Items": [], "x": "' + b"x" * module.MOST_BYTES + b'"}',
    ],
    ids=range(12),
)
def test_an_answer_that_is_none_leaves_the_table(retail: Retail, tmp_path: Path, body: bytes) -> None:
    retail.answer = lambda: (200, body, {})
    assert not prices("eastus", [T4], tmp_path, endpoint=retail.url)[T4, False].live


@pytest.mark.parametrize("code", [302, 400, 404, 429, 500, 503])
def test_errors_and_redirects_leave_the_table(retail: Retail, tmp_path: Path, code: int) -> None:
    retail.answer = lambda: (code, b"", {"Location": f"{retail.url}/elsewhere"})
    assert not prices("eastus", [T4], tmp_path, endpoint=retail.url)[T4, False].live


def test_pages_without_end_are_left(retail: Retail, tmp_path: Path) -> None:
    pages = []

    def answer() -> tuple[int, bytes, dict[str, str]]:
        pages.append(1)
        return 200, json.dumps({"Items": [row(0.5)], "NextPageLink": retail.url + "?again"}).encode(), {}

    retail.answer = answer
    assert not prices("eastus", [T4], tmp_path, endpoint=retail.url)[T4, False].live
    assert len(pages) == module.MOST_PAGES


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        found = prices("eastus", [T4, A100], tmp_path, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert time.monotonic() - started < 5
    assert not any(price.live for price in found.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        '{"Standard_NC4as_T4_v3": 7}',
        '{"Standard_NC4as_T4_v3": ["2026-01-01", {"spot": "0.01"}]}',
        '{"Standard_NC4as_T4_v3": ["NOW", {"spot": "free"}]}',
        '{"Standard_NC4as_T4_v3": ["NOW", {"spot": "-1"}]}',
        '{"Standard_NC4as_T4_v3": ["NOW", {"spot": "NaN"}]}',
        '{"Standard_NC4as_T4_v3": ["2999-01-01T00:00:00+00:00", {"spot": "0.01"}]}',
        '{"../../etc": ["NOW", {"spot": "0.01"}]}',
    ],
)
def test_a_broken_cache_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "prices-eastus-USD.json").write_text(text.replace("NOW", datetime.now(UTC).isoformat()), encoding="utf-8")
    assert price_of(T4, "eastus", spot=True, cache=tmp_path).per_hour == Decimal("0.063")


def test_a_cache_that_cannot_be_written_costs_nothing_but_calls(retail: Retail, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert prices("eastus", [T4], tmp_path / "file" / "cache", endpoint=retail.url)[T4, False].live


def test_nobody_is_asked_for_what_cannot_be(retail: Retail, tmp_path: Path) -> None:
    for region, size, currency in [
        ("east'us", T4, "USD"),
        ("../x", T4, "USD"),
        ("eastus", "T4' or '", "USD"),
        ("eastus", T4, "$"),
    ]:
        with pytest.raises(ConfigError):
            prices(region, [size], tmp_path, endpoint=retail.url, currency=currency)
    assert not retail.asked


def test_sizes_are_known_by_name_and_by_what_is_wrong_with_them() -> None:
    assert size_of("standard_nc64as_t4_v3").gpus == 4
    assert size_of(T4) == sizes()[0]
    with pytest.raises(ConfigError) as caught:
        size_of("Standard_NC4as_T4")
    assert T4 in caught.value.hint
    assert "GRID" in size_of("Standard_NV36ads_A10_v5").warning
    assert "retired" in size_of("Standard_NC6s_v3").warning
    for size in sizes():
        assert size.cores > 0
        assert bool(size.gpus) == bool(size.gpu) == bool(size.gpu_memory)
        assert size.family.startswith("standard")
        costs = [price_of(size.name, "eastus", spot=spot).per_hour for spot in (True, False)]
        assert 0 < costs[0] <= costs[1]


def age(folder: Path, by: timedelta) -> None:
    """Make what is cached older."""
    for file in folder.iterdir():
        held = json.loads(file.read_text(encoding="utf-8"))
        older = {name: [(datetime.fromisoformat(at) - by).isoformat(), costs] for name, (at, costs) in held.items()}
        file.write_text(json.dumps(older), encoding="utf-8")


def nowhere() -> str:
    """An address where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}/"
