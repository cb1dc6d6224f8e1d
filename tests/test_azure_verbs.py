"""stylizer azure …, as a person types it, on an emulated account."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from backends.azure.meter import Ledger, Life
from stylizer import estimate_verbs
from stylizer.azure_verbs import app, before, in_region
from stylizer.backend import Phase
from stylizer.config import AzureDefaults, Config, load_config, places
from stylizer.errors import ConfigError
from stylizer.estimate import Measurement
from stylizer.store import Store
from tests.azure_for_tests import Cloud, cloud
from tests.azurite import Azurite, azurite, missing
from tests.emulator.script import SIZES
from tests.jobs_for_tests import chunk_spec, until
from tests.media import make_clip

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
ADDRESSES = ["--batch", "https://me.westeurope.batch.azure.com", "--media", "me.blob.core.windows.net"]


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def account(storage: Azurite, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    (tmp_path / "look.safetensors").write_bytes(b"a checkpoint, as far as these tests go")
    with cloud(storage, tmp_path, monkeypatch) as made:
        settings = made.settings()
        home.mkdir()
        lines = [f"{key} = {json.dumps(getattr(settings, key))}" for key in ("batch", "media", "container", "vm_size")]
        places().config.write_text("[azure]\nshared_key = true\n" + "\n".join(lines) + "\n")
        yield made


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, words, catch_exceptions=False)


def told(*words: str) -> dict[str, object]:
    found = json.loads(typed(*words, "--json").stdout.splitlines()[-1])
    assert found["ok"] is True
    return dict(found)


def test_init_writes_one_section_and_keeps_the_rest(home: Path) -> None:
    home.mkdir()
    places().config.write_text("# mine\n[look]\nbrush = 2.0  # broad\n")
    typed("init", *ADDRESSES, "--nodes", "7", "--no-spot", "--json")
    text, config = places().config.read_text(), load_config(places().config)
    assert "# mine" in text and "brush = 2.0  # broad" in text
    assert config.azure.batch == "https://me.westeurope.batch.azure.com"
    assert config.azure.media == "https://me.blob.core.windows.net" and config.azure.region == "westeurope"
    assert config.azure.nodes == 7 and config.azure.spot is False and config.look.brush == 2.0
    typed("init", "--batch", "https://other.eastus.batch.azure.com", "--json")
    config = load_config(places().config)
    assert config.azure.batch.startswith("https://other") and config.azure.nodes == 7


def test_init_asks_three_questions() -> None:
    answers = "https://me.westeurope.batch.azure.com\nhttps://me.blob.core.windows.net\ny\n"
    assert CliRunner().invoke(app, ["init"], input=answers, catch_exceptions=False).exit_code == 0
    assert load_config(places().config).azure.media == "https://me.blob.core.windows.net"


@pytest.mark.parametrize("wrong", ["not an address at all?", "https://", "https://me:secret@host"])
def test_init_takes_no_nonsense(wrong: str) -> None:
    with pytest.raises(ConfigError, match="not the address"):
        typed("init", "--batch", wrong, "--media", "https://me.blob.core.windows.net")
    assert not places().config.exists()


def test_a_run_is_seen_read_and_cleaned_up(account: Cloud, tmp_path: Path) -> None:
    assert told("ls")["found"] == []
    account.tell_workers(fates={"24": "fail"})
    backend, specs = account.backend(home="home/azure"), [chunk_spec(tmp_path, n) for n in range(2)]
    backend.submit(specs)
    until(lambda: {report.phase for report in backend.poll([spec.id for spec in specs])} == {Phase.DONE, Phase.FAILED})
    until(lambda: backend.meters()[0].final)
    (found,) = told("ls")["found"]  # type: ignore[misc]
    assert {report.worker for report in backend.poll([specs[0].id])} == {"azure (D2s_v3)"}
    assert found["kind"] == "job" and found["job"] == 1 and found["own"] and found["nodes"] == 0
    assert float(found["spent"]) > 0 and "stylizer-" in typed("ls").stdout

    lines = [json.loads(line) for line in typed("logs", "1", "--json").stdout.splitlines()]
    assert {line["of"] for line in lines if not line["of"].startswith("tvm")} == {spec.id for spec in specs}
    assert any('"state": "running"' in line["text"] for line in lines)
    assert any('"finished"' in line["text"] for line in lines) and any("told to" in line["text"] for line in lines)
    assert {line["of"] for line in map(json.loads, typed("logs", "1", "1", "--json").stdout.splitlines())} == {specs[1].id}
    assert "no logs of job 9" in typed("logs", "9").output

    backend.close()
    (name,) = told("clean")["deleted"]  # type: ignore[misc]
    assert name == found["name"] and told("ls")["found"] == []
    opened = account.backend(home="home/azure")._account()
    assert [blob.name for blob in opened.logs.list("")] == []
    assert [blob.name.partition("/")[0] for blob in opened.media.list("")] == ["content", "content"]
    told("clean", "--all")
    assert list(opened.media.list("")) == []


def test_estimates_rest_on_what_rented_machines_did(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.azure.prices.ENDPOINT", "http://127.0.0.1:9/")
    home.mkdir()
    places().config.write_text('[azure]\nbatch = "https://me.eastus.batch.azure.com"\nvm_size = "Standard_D2s_v3"\n')
    film = str(make_clip(tmp_path / "film.mp4", times=range(240)))
    plain = CliRunner().invoke(estimate_verbs.app, [film, "--backend", "azure"], catch_exceptions=False)
    assert "The cheapest" in plain.output and "The fastest" in plain.output and "D2s_v3*" not in plain.output
    with Store(places().store) as store:
        store.measure(Measurement("azure (D2s_v3)", "fp32", 64, 48, 1.0, 0.0, 1.0))
    ledger = Ledger(places().store.parent / "azure" / "a.meter.json", 1, "USD", "a table")
    ledger.lives["standard_d2s_v3"] = Life([60.0])
    ledger.keep()
    known = CliRunner().invoke(estimate_verbs.app, [film, "--backend", "azure", "--json"], catch_exceptions=False)
    offers = json.loads(known.stdout.splitlines()[-1])["places"]
    mine = [one for one in offers if "D2s_v3" in one["where"]]
    assert mine and all("as measured" in one["basis"] and "as in 1 start" in one["basis"] for one in mine)
    slowest = max(mine, key=lambda one: one["seconds"])
    assert slowest["seconds"] == pytest.approx(60 + 12 + 240, rel=0.2)
    assert {one["where"].split()[2] for one in offers} > {"D2s_v3", "NC4as_T4_v3"}
    assert {one["where"].split()[3] for one in offers} == {"Spot", "dedicated"}


def test_the_region_is_the_accounts(home: Path) -> None:
    plain = Config(azure=AzureDefaults(batch="https://me.westeurope.batch.azure.com"))
    found, words = in_region(plain, "")
    assert found.azure.region == "westeurope" and not words
    found, words = in_region(plain, "East US")
    assert found.azure.region == "westeurope" and "not in eastus" in words
    # An address that names no region leaves it to who asks.
    found, words = in_region(Config(azure=AzureDefaults(batch="https://batch.example.org")), "East US")
    assert found.azure.region == "eastus" and not words


def test_machines_without_a_known_price_are_counted_and_named(
    account: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.tell_workers(pace=60.0)
    monkeypatch.setitem(SIZES, "standard_x9", SIZES["standard_d2s_v3"])
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    until(lambda: backend.poll([spec.id])[0].phase is Phase.RUNNING)
    (pool,) = account.batch.account.pools.values()
    pool.spec["vmSize"] = "Standard_X9"
    (found,) = told("ls")["found"]  # type: ignore[misc]
    assert found["nodes"] == 1 and found["unpriced"] == "Standard_X9" and found["currency"] == ""
    assert "?" in typed("ls").stdout and "Standard_X9 costs is not known" in typed("ls").output
    backend.stop_spending(1)
    account.batch.wait(lambda: not account.batch.account.pools)


def test_what_should_be_known_before_is_said(account: Cloud, tmp_path: Path) -> None:
    config = Config(azure=account.settings(pool="warm", keep_warm_minutes=30.0))
    (warmth,) = before(config)
    assert "kept 30 min" in warmth
    broken = Config(azure=account.settings(batch="http://127.0.0.1:9"))
    (words,) = before(broken)
    assert words.startswith("What is left in Azure could not be looked up")


def test_down_ends_what_costs_money(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=60.0)
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    until(lambda: backend.poll([spec.id])[0].phase is Phase.RUNNING)
    (found,) = told("ls")["found"]  # type: ignore[misc]
    assert found["nodes"] == 1 and float(found["per_hour"]) > 0 and not found["own"]
    assert told("clean")["deleted"] == []
    assert len(told("down")["ended"]) == 1  # type: ignore[arg-type]
    account.batch.wait(lambda: not any(pool.nodes for pool in account.batch.account.pools.values()))
    assert "nothing to do" in typed("down", "--yes").output
