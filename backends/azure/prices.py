"""What VM sizes are and what they cost an hour: live from the Retail Prices API, else from a dated table; each says which.

known = prices("eastus", ["Standard_NC4as_T4_v3"], cache)
known["Standard_NC4as_T4_v3", True].per_hour      # Spot
price_of("Standard_NC4as_T4_v3", "eastus", spot=True, cache=cache)      # without a call: what was fetched last
"""

from __future__ import annotations

import difflib
import http.client
import json
import os
import re
import threading
import time
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache as once
from importlib.resources import files
from pathlib import Path
from typing import Any

from stylizer.errors import ConfigError
from stylizer.files import settle

ENDPOINT = "https://prices.azure.com/api/retail/prices"
FRESH = timedelta(days=1)
"""So long a fetched price is not asked for again."""
USABLE = timedelta(days=30)
"""So long it is better than the table, where the API cannot be asked; it says its date."""
PATIENCE_SECONDS = 10.0
"""For all answers together."""
MOST_BYTES = 4 << 20
"""Of one page, and of what is cached."""
MOST_PAGES = 10
HIGHEST, LOWEST = Decimal(10_000), Decimal("0.0001")
"""What is outside of these is no price of a machine's hour."""
TRAPS = ("windows", "cloudservices", "cloud services", "low priority", "dedicated host")
"""Words of rows that are priced under the same size and are not our Linux machine."""


@dataclass(frozen=True, slots=True)
class Size:
    name: str
    gpus: int
    gpu: str
    """Model; empty where there is none."""
    cores: int
    family: str
    """As Azure's lists of quotas call it; they differ in case and spaces."""
    gpu_memory: int = 0
    """GiB of one GPU."""
    warning: str = ""
    """Why one should rather not take it, in a sentence."""


@dataclass(frozen=True, slots=True)
class Price:
    """Of one machine for an hour."""

    per_hour: Decimal
    currency: str
    basis: str
    """What it rests on, with a date."""
    live: bool = False
    """Whether Azure told it, on that date."""


class _NoAnswer(Exception):
    """The API did not answer, or not as it should."""


# ---- sizes ----


def sizes() -> Sequence[Size]:
    """The sizes that are known here, the usual one first."""
    return tuple(size for size, _ in _table().values())


def size_of(name: str) -> Size:
    """The facts of a size, whatever the case of its name. ConfigError if it is not known here."""
    found = _table().get(name.lower())
    if found is None:
        known = [size.name for size in sizes()]
        near = difflib.get_close_matches(name.lower(), [one.lower() for one in known], n=1, cutoff=0.5)
        hint = next((f"Did you mean {one}?" for one in known if [one.lower()] == near), f"Known here: {', '.join(known)}.")
        raise ConfigError(f"The VM size {name!r} is not one that stylizer knows.", hint=hint)
    return found[0]


@once
def _catalogue() -> dict[str, Any]:
    return tomllib.loads(files("backends.azure").joinpath("sizes.toml").read_text(encoding="utf-8"))


@once
def _table() -> dict[str, tuple[Size, dict[bool, Decimal]]]:
    """By name in lower case: the size, and its prices by whether they are Spot's."""
    found = {}
    for name, row in _catalogue().items():
        if isinstance(row, dict):
            size = Size(
                name, row["gpus"], row["gpu"], row["cores"], row["family"], row["gpu_memory"], row.get("warning", "")
            )
            found[name.lower()] = size, {spot: Decimal(row[key]) for spot, key in _KINDS.items() if key in row}
    return found


_KINDS = {False: "dedicated", True: "spot"}


# ---- prices ----


def price_of(name: str, region: str, *, spot: bool, cache: Path | None = None, currency: str = "USD") -> Price:
    """As last fetched into `cache`, else the table's; makes no call. ConfigError for a size that is not known."""
    return prices(region, [name], cache, fetch=False, currency=currency)[size_of(name).name, spot]


def prices(
    region: str,
    wanted: Iterable[str],
    cache: Path | None,
    *,
    fetch: bool = True,
    currency: str = "USD",
    endpoint: str = ENDPOINT,
) -> dict[tuple[str, bool], Price]:
    """Prices by size and by whether it is Spot's, for each size of `wanted`, Spot and dedicated.

    Asks the API, for PATIENCE_SECONDS at most, for what is not in the folder `cache` or older than a day; without an answer
    they are what was fetched in the last month, else the table's, which is in dollars. Where no Spot price is known it is
    the dedicated one, which Spot never exceeds. ConfigError for a size, region or currency that cannot be.
    """
    names = [size_of(name).name for name in wanted]
    place = region.replace(" ", "").lower()
    if not re.fullmatch(r"[a-z0-9]{0,40}", place):
        raise ConfigError(f"{region!r} is no Azure region.", hint="Write it as in eastus or westeurope.")
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise ConfigError(f"{currency!r} is no currency.", hint="Write it as in USD or EUR.")
    now = datetime.now(UTC)
    file = cache / f"prices-{place}-{currency}.json" if cache and place else None
    known = _read(file, now) if file else {}
    missing = [name for name in dict.fromkeys(names) if name not in known or now - known[name][0] > FRESH]
    if fetch and place and missing:
        deadline = time.monotonic() + PATIENCE_SECONDS

        def ask(name: str) -> tuple[str, dict[bool, Decimal]] | None:
            with suppress(_NoAnswer):
                return name, _ask(place, name, currency, endpoint, deadline)
            return None

        with ThreadPoolExecutor(4) as lanes:
            known |= {found[0]: (now, found[1]) for found in lanes.map(ask, missing) if found}
        if file:
            _write(file, known)
    return {
        (name, spot): _priced(known.get(name), name, spot=spot, region=place, currency=currency)
        for name in names
        for spot in (False, True)
    }


_Fetched = tuple[datetime, dict[bool, Decimal]]
"""When, and what was found by whether it is Spot's; nothing where the region does not have the size."""


def _priced(fetched: _Fetched | None, name: str, *, spot: bool, region: str, currency: str) -> Price:
    if fetched and fetched[1]:
        live, found, basis = True, fetched[1], f"Retail Prices API, {fetched[0]:%Y-%m-%d}"
    else:
        catalogue = _catalogue()
        elsewhere = "" if region == catalogue["region"] else f" in {catalogue['region']}"
        live, found, basis = (
            False,
            _table()[name.lower()][1],
            f"catalogue price of {catalogue['date']}{elsewhere} (not live)",
        )
        currency = catalogue["currency"]
    if spot not in found:
        basis += "; no Spot price is known, it is at most this dedicated one" if spot else "; only a Spot price is known"
        spot = not spot
    return Price(found[spot], currency, basis, live)


# ---- the API ----


class _Straight(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else than where it was sent."""

    def redirect_request(self, *_: object) -> None:
        return None


def _ask(region: str, name: str, currency: str, endpoint: str, deadline: float) -> dict[bool, Decimal]:
    """What a size costs there, by whether it is Spot's."""
    where = (
        "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' "
        f"and armRegionName eq '{region}' and armSkuName eq '{name}'"
    )
    asked = {"currencyCode": f"'{currency}'", "meterRegion": "'primary'", "$filter": where}
    link = f"{endpoint}?{urllib.parse.urlencode(asked, quote_via=urllib.parse.quote)}"
    best: dict[bool, tuple[datetime, Decimal]] = {}
    for _ in range(MOST_PAGES):
        page = _page(link, deadline)
        for item in page["Items"]:
            row = _row(item, region, name, currency)
            if row:
                # The newest that is in force counts; of two the higher, which promises nothing.
                best[row[0]] = max(best.get(row[0], row[1:]), row[1:])
        following = page.get("NextPageLink")
        if not following:
            return {spot: price for spot, (_, price) in best.items()}
        if not isinstance(following, str) or _host(following) != _host(endpoint):
            raise _NoAnswer("it sends us elsewhere")
        link = following
    raise _NoAnswer("it never ends")


def _page(link: str, deadline: float) -> dict[str, Any]:
    try:
        opener = urllib.request.build_opener(_Straight)
        with opener.open(link, timeout=max(0.1, deadline - time.monotonic())) as answer:
            content = b""
            while piece := answer.read1(1 << 16):
                content += piece
                if len(content) > MOST_BYTES or time.monotonic() > deadline:
                    raise _NoAnswer("it is too long")
        page = json.loads(content, parse_float=Decimal, parse_int=Decimal)
    except (OSError, http.client.HTTPException, ValueError, InvalidOperation, RecursionError) as error:
        raise _NoAnswer(str(error)) from None
    if not isinstance(page, dict) or not isinstance(page.get("Items"), list):
        raise _NoAnswer("it is no page of prices")
    return page


def _host(link: str) -> tuple[str, str | None, int]:
    try:
        parts = urllib.parse.urlsplit(link)
        return parts.scheme, parts.hostname, parts.port or {"https": 443}.get(parts.scheme, 80)
    except ValueError:
        return "", None, 0


def _row(item: object, region: str, name: str, currency: str) -> tuple[bool, datetime, Decimal] | None:
    """Whether it is a Spot price, since when, and how high; nothing for a row that is not our machine's."""
    if not isinstance(item, dict):
        return None
    wanted = {
        "armSkuName": name,
        "armRegionName": region,
        "currencyCode": currency,
        "type": "Consumption",
        "unitOfMeasure": "1 Hour",
    }
    words = [item.get(key) for key in ("productName", "skuName", "meterName")]
    if any(item.get(key) != value for key, value in wanted.items()) or not all(isinstance(word, str) for word in words):
        return None
    if any(trap in str(word).lower() for trap in TRAPS for word in words):
        return None
    price, since = _price(item.get("retailPrice")), _moment(item.get("effectiveStartDate"))
    if price is None or since is None or since > datetime.now(UTC):
        return None
    return str(item["skuName"]).endswith(" Spot"), since, price


def _price(value: object) -> Decimal | None:
    return value if isinstance(value, Decimal) and value.is_finite() and LOWEST <= value <= HIGHEST else None


def _moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found.replace(tzinfo=found.tzinfo or UTC) if found else None


# ---- what is kept ----


def _read(file: Path, now: datetime) -> dict[str, _Fetched]:
    """What was fetched in the last month; a file that is not as we write it holds nothing."""
    found: dict[str, _Fetched] = {}
    try:
        if file.stat().st_size <= MOST_BYTES:
            raw = json.loads(file.read_text(encoding="utf-8"))
            for name, (at, costs) in raw.items():
                when = _moment(at)
                if when and timedelta(hours=-1) < now - when < USABLE and name.lower() in _table():
                    held = {spot: _price(Decimal(costs[key])) for spot, key in _KINDS.items() if key in costs}
                    found[name] = when, {spot: price for spot, price in held.items() if price is not None}
    except (OSError, ValueError, TypeError, AttributeError, InvalidOperation, RecursionError):
        return {}
    return found


def _write(file: Path, known: Mapping[str, _Fetched]) -> None:
    """Keep it; where that cannot be, the next who asks asks Azure again."""
    raw = {
        name: (at.isoformat(), {_KINDS[spot]: str(price) for spot, price in found.items()})
        for name, (at, found) in known.items()
    }
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{os.getpid()}-{threading.get_ident()}.part")
        part.write_text(json.dumps(raw, indent=1), encoding="utf-8")
        settle(part, file)
