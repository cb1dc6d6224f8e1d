"""The parts of the Azure backend that need no account: definitions, formula, meter, planner, pool, what nodes write."""

import io
import os
import shlex
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from azure.batch import models as m
from hypothesis import given
from hypothesis import strategies as st

from backends.azure import definitions, mounts, planner, pool
from backends.azure.definitions import File, formula
from backends.azure.errands import files, portable
from backends.azure.meter import Ledger, Life, lived, reopened
from backends.azure.prices import price_of, size_of
from backends.azure.runs import Entry, Run, failure, job_of, key_of, notes_in
from backends.azure.storage import Blob
from backends.azure.wheel import build_wheel
from stylizer.archive import pack_pictures, plain, unpack_pictures
from stylizer.backend import Node, Phase, Report
from stylizer.config import AzureDefaults, Config
from stylizer.errors import BackendRejected, ConfigError, InputError
from stylizer.estimate import Measurement
from stylizer.jobs import MediaKind
from stylizer.transfer import given as errand_of
from stylizer.transfer import one_gpu
from stylizer.wire import Line, dumps, loads, say
from tests.emulator.formula import Samples, evaluate
from tests.jobs_for_tests import chunk_spec, clip, fit_spec, look

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
T4 = AzureDefaults(nodes=8)


# ---- the formula ----


def targets(settings: AzureDefaults, minutes: float, pending: list[float], before: int = 4, *, spot: bool = True) -> int:
    """What the pool aims at, so long after its start, with a sample each half minute until then."""
    now = NOW + timedelta(minutes=minutes)
    taken = [(now - timedelta(seconds=30 * n), value) for n, value in enumerate(reversed(pending))]
    kind, other = ("LowPriority", "Dedicated") if spot else ("Dedicated", "LowPriority")
    found = evaluate(
        formula(settings, 4, NOW, spot=spot),
        now,
        {"$PendingTasks": Samples(sorted(taken))},
        {f"$Target{kind}Nodes": float(before), f"$Target{other}Nodes": 0.0},
    )
    assert found[f"$Target{other}Nodes"] == 0
    return int(found[f"$Target{kind}Nodes"])


@pytest.mark.parametrize("spot", [True, False])
def test_the_formula_follows_the_queue(spot: bool) -> None:
    assert targets(T4, 0, [], 0, spot=spot) == 4
    assert targets(T4, 2, [3.0] * 4, spot=spot) == 4
    assert targets(T4, 6, [100.0] * 12, spot=spot) == 8
    assert targets(T4, 60, [100.0] * 120, spot=spot) == 8
    assert targets(T4, 60, [3.0] * 120, spot=spot) == 3
    assert targets(T4, 60, [0.0] * 120, spot=spot) == 0
    assert targets(T4, 60, [], 6, spot=spot) == 6


def test_the_formula_knows_of_several_gpus_in_a_node() -> None:
    assert targets(replace(T4, vm_size="Standard_NC64as_T4_v3"), 60, [9.0] * 120) == 3


# ---- definitions ----


def test_a_pool_ends_by_itself_and_checks_its_gpu() -> None:
    wheel = File("stylizer-1-py3-none-any.whl", "https://a.blob.core.windows.net/c/code/x?sig=s")
    made = definitions.pool(T4, wheel, 2, NOW, spot=True)
    assert made.start_task and made.start_task.resource_files
    assert "nvidia-smi" in made.start_task.command_line and "sig=" not in made.start_task.command_line
    assert "torch>=" in made.start_task.command_line and "azure" not in made.start_task.command_line
    shell, flag, script = shlex.split(made.start_task.command_line)
    assert (shell, flag) == ("/bin/bash", "-c") and made.start_task.command_line.count("'") == 2
    assert subprocess.run(["bash", "-n", "-c", script], capture_output=True).returncode == 0 or os.name == "nt"
    job = definitions.job(T4, "stylizer-1", {"job": "1"}, made)
    auto = job.pool_info.auto_pool_specification
    assert auto and auto.pool_lifetime_option == m.BatchPoolLifetimeOption.JOB and not auto.keep_alive
    assert job.constraints and job.constraints.max_wall_clock_time == timedelta(hours=6)
    named = definitions.job(replace(T4, pool="warm"), "stylizer-1", {}, made)
    assert named.pool_info.pool_id == "warm" and named.pool_info.auto_pool_specification is None


def test_a_pool_with_an_image_a_network_and_an_identity() -> None:
    settings = replace(T4, image="acr.azurecr.io/stylizer:1", subnet="/subnets/s", identity="/identities/i", pool="warm")
    made = definitions.pool(settings, None, 2, NOW, spot=False)
    machine, network = made.virtual_machine_configuration, made.network_configuration
    assert machine and machine.container_configuration and network
    (registry,) = machine.container_configuration.container_registries or ()
    assert registry.identity_reference and registry.identity_reference.resource_id == "/identities/i"
    assert network.public_ip_address_configuration
    assert made.start_task and "pip" not in made.start_task.command_line
    (task,) = definitions.tasks(settings, ["1-00000-1"], File("errands.json", "https://x/y", settings.identity))
    assert task.container_settings and task.command_line == "python -P -m stylizer.transfer 1-00000-1 errands.json"
    assert task.resource_files and task.resource_files[0].identity_reference


def test_the_wheel_is_what_runs_here(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    other = tmp_path / "again"
    other.mkdir()
    assert build_wheel(other).read_bytes() == wheel.read_bytes()
    target = tmp_path / "env"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(target)
    code = "import stylizer.transfer, backends.process, sys; assert stylizer.transfer.__file__.startswith(sys.argv[1])"
    guard = "assert not any(name.partition('.')[0] in ('azure', 'torch') for name in sys.modules)"
    command = [sys.executable, "-c", f"{code}; {guard}", str(target)]
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    needs = " ".join(definitions.requirements())
    assert "torch>=" in needs and "torchvision" not in needs and "azure" not in needs


# ---- what goes to a node and what comes back ----


def test_a_spec_tells_a_node_no_paths(tmp_path: Path) -> None:
    for spec in (chunk_spec(tmp_path), fit_spec(tmp_path)):
        (tmp_path / "look.safetensors").write_bytes(b"x")
        text = dumps(portable(spec))
        assert str(tmp_path) not in text and loads(text).id == spec.id
        for name, path, _ in files(spec):
            assert plain(name) == name and path.is_relative_to(tmp_path)
    assert loads(text).look.styles[0].path == Path("art.jpg")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a\\b", "c:x", ".hidden", "a\0b"])
def test_names_from_outside_are_no_paths(name: str) -> None:
    with pytest.raises(InputError):
        plain(name)


def archive(*entries: tuple[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", kind) as file:
        for name, data in entries:
            file.writestr(name, data)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        archive(("../escaped", b"x")),
        archive(("/etc/passwd", b"x")),
        archive(("a", b"x"), ("b", b"x"), ("c", b"x")),
        archive(("a", b"x" * 2000)),
        archive(("a", b"x"), kind=zipfile.ZIP_DEFLATED),
    ],
)
def test_a_hostile_archive_leaves_nothing_outside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.zip").write_bytes(content)
    with pytest.raises(InputError):
        unpack_pictures(tmp_path / "in" / "x.zip", tmp_path / "in" / "out", most=2, most_bytes=1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_pictures_go_there_and_back(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "a" / name).write_bytes(name.encode())
    for target in ("x.zip", "y.zip"):
        pack_pictures((tmp_path / "a").iterdir(), tmp_path / target)
    assert (tmp_path / "x.zip").read_bytes() == (tmp_path / "y.zip").read_bytes()
    unpack_pictures(tmp_path / "x.zip", tmp_path / "b", most=2)
    assert {p.name: p.read_text() for p in (tmp_path / "b").iterdir()} == {"1.png": "1.png", "2.png": "2.png"}


def test_each_errand_has_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZ_BATCH_NODE_SHARED_DIR", str(tmp_path))
    with one_gpu(2) as first, one_gpu(2) as second:
        assert {first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]} == {"0", "1"}
    with one_gpu(2) as again, one_gpu(1) as only:
        assert again == first and only == {}


def run() -> Run:
    made = Run("stylizer-x-1-y", 1)
    made.entries["1-00000-1"] = Entry(Report("1-00000-1", Phase.WAITING))
    return made


def blob(name: str, **facts: str) -> Blob:
    return Blob(f"stylizer-x-1-y/state/{name}", 0, "e", 0.0, facts)


def test_nodes_are_heard() -> None:
    heard = run()
    heard.hear(blob("1-00000-1.progress", done="5", total="24", fps="2.5", node="tvm_1"), "azure (T4)")
    assert heard.entries["1-00000-1"].report == Report("1-00000-1", Phase.RUNNING, 5, 24, 2.5, "azure tvm_1")
    heard.hear(blob("1-00000-1.done", frames="24", digest="ab" * 32, size="99", seconds="1.5"), "azure (T4)")
    entry = heard.entries["1-00000-1"]
    assert (entry.size, entry.report.done, entry.report.digest, entry.report.worker) == (99, 24, "ab" * 32, "azure (T4)")
    assert heard.hear(blob("1-00000-1.failed"), "azure (T4)") == ""


@given(st.text(), st.dictionaries(st.sampled_from(["done", "total", "fps", "digest", "size", "seconds", "node"]), st.text()))
def test_whatever_nodes_write_is_survived(name: str, facts: dict[str, str]) -> None:
    heard = run()
    for kind in ("progress", "done", "failed"):
        heard.hear(Blob(f"x/state/{name}.{kind}", 0, "e", 0.0, facts), "azure")
        heard.hear(Blob(f"x/state/1-00000-1.{kind}", 0, "e", 0.0, facts), "azure")
    assert list(heard.entries) == ["1-00000-1"] and heard.entries["1-00000-1"].is_open


@given(st.text())
def test_whatever_words_come_they_are_a_report(text: str) -> None:
    assert failure("1-00000-1", text, "").phase is Phase.FAILED
    assert all(isinstance(note, str) for note in notes_in(text))
    with pytest.raises(InputError):
        errand_of(text, "1-00000-1")


def test_a_failure_keeps_its_words() -> None:
    words = Line("failed", "1-00000-1", code="input", message="Bad.", hint="Do.", retryable=False)
    report = failure("1-00000-1", say(words), "the log")
    assert (report.error, report.hint, report.code, report.retryable, report.log) == (
        "Bad.",
        "Do.",
        "input",
        False,
        "the log",
    )
    assert failure("1-00001-1", say(words), "").retryable


def test_what_a_job_is_made_of_names_its_run(tmp_path: Path) -> None:
    one = chunk_spec(tmp_path)
    assert key_of("abc", one) == key_of("abc", chunk_spec(tmp_path, 5)) == key_of("abc", fit_spec(tmp_path))
    assert key_of("abc", one) != key_of("abc", replace(one, look=look(tmp_path, 0.5)))
    assert key_of("abc", one).startswith("stylizer-abc-1-") and job_of("12-00000-1") == 12 and job_of("x") == -1


# ---- money ----


def node(name: str, since: float, state: str = "running", price: str = "3.6") -> tuple[Node, float]:
    return Node(name, state, "Standard_NC4as_T4_v3", True, since, Decimal(price)), since


def ledger(path: Path) -> Ledger:
    return Ledger(path, 1, "USD", "a table")


def test_every_second_of_a_node_counts(tmp_path: Path) -> None:
    book = ledger(tmp_path / "a.meter.json")
    book.see([node("a", 100.0)], 110.0)
    assert book.spent == Decimal("0.01")
    assert book.meter(120.0).spent == Decimal("0.02") and book.meter(120.0).per_hour == Decimal("3.6")
    book.see([node("a", 100.0), node("b", 105.0)], 120.0)
    assert book.spent == Decimal("0.035")
    book.end(130.0)
    assert book.spent == Decimal("0.055") and book.meter(999.0).final and book.meter(999.0).spent == Decimal("0.055")


def test_a_node_that_was_taken_away_costs_nothing_meanwhile(tmp_path: Path) -> None:
    book = ledger(tmp_path / "a.meter.json")
    book.see([node("a", 100.0)], 110.0)
    taken = replace(node("a", 100.0)[0], state="preempted", since=115.0)
    book.see([(taken, 100.0)], 120.0)
    assert book.spent == Decimal("0.015") and book.meter(500.0).per_hour == 0
    back = replace(taken, state="idle", since=300.0)
    book.see([(back, 100.0)], 310.0)
    assert book.spent == Decimal("0.025")


def test_a_restart_goes_on_counting(tmp_path: Path) -> None:
    book = ledger(tmp_path / "a.meter.json")
    book.see([node("a", 100.0), node("b", 100.0)], 110.0)
    again = reopened(tmp_path / "a.meter.json")
    assert again and again.spent == book.spent and not again.final
    again.see([node("a", 100.0)], 120.0)
    assert again.spent == Decimal("0.04")
    (tmp_path / "a.meter.json").write_text("{broken")
    assert reopened(tmp_path / "a.meter.json") is None


def test_what_happened_while_nobody_looked_is_bounded(tmp_path: Path) -> None:
    book = ledger(tmp_path / "a.meter.json")
    book.see([node("a", 100.0)], 110.0)
    book.end(130.0)  # the Batch job's own end, hours before we looked again
    assert book.spent == Decimal("0.03")


def known(pixels_a_second: float) -> list[Measurement]:
    return [Measurement("azure (NC4as_T4_v3)", "fp16", 64, 48, pixels_a_second / (64 * 48), 0.0, 1.0)]


def test_a_plan_says_what_it_rests_on(tmp_path: Path) -> None:
    settings = replace(T4, nodes=4, region="eastus", chunk_seconds=10.0)
    config, shot = Config(azure=settings), clip(tmp_path, frames=24 * 600)
    guess = planner.plan(shot, look(tmp_path), config)
    assert "guess" in guess.basis and "catalogue" in guess.basis and guess.cost > 0 and guess.nodes == 4
    measured = planner.plan(shot, look(tmp_path), config, known(64 * 48 * 10.0))
    assert "measured" in measured.basis
    # 15 chunks a node, each 24 s of painting and 12 s of starting; Spot loses a little.
    assert measured.seconds == pytest.approx(420 + 15 * 36, rel=0.01)
    price = price_of("Standard_NC4as_T4_v3", "eastus", spot=True).per_hour
    assert measured.cost == pytest.approx(price * Decimal(4 * (measured.seconds + 60)) / 3600)


def test_the_cheapest_plan_comes_first_and_more_machines_are_faster(tmp_path: Path) -> None:
    config, shot = Config(azure=replace(T4, nodes=4)), clip(tmp_path, frames=24 * 600)
    found = planner.plans(shot, look(tmp_path), config, ["Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4"])
    assert [plan.cost for plan in found] == sorted(plan.cost for plan in found)
    assert found[0].spot and found[0].nodes == 1
    fastest = min(found, key=lambda plan: plan.seconds)
    assert fastest.nodes == 4 and "A100" in fastest.size and "USD" in fastest.sentence


def test_chunks_have_a_best_length(tmp_path: Path) -> None:
    config, shot = Config(azure=replace(T4, nodes=1)), clip(tmp_path, frames=24 * 3600)
    seconds = {
        length: plan.seconds for length, plan in planner.trade_off(shot, look(tmp_path), config, known(64 * 48 * 24.0))
    }
    assert seconds[2.0] > seconds[10.0] > seconds[40.0]
    assert planner.expected(7200.0, 1.0) > 2 * 7200.0 and planner.expected(60.0, 0.0) == 60.0
    assert list(planner.trade_off(replace(shot, kind=MediaKind.STILL), look(tmp_path), config)) == []


def test_a_run_takes_the_length_of_chunks_that_is_best(tmp_path: Path) -> None:
    config, shot, rate = Config(azure=replace(T4, nodes=4)), clip(tmp_path, frames=24 * 600), known(64 * 48 * 2.0)
    chosen = planner.plan(shot, look(tmp_path), config, rate)
    found = [one for _, one in planner.trade_off(shot, look(tmp_path), config, rate)]
    assert chosen in found and chosen.seconds <= 1.05 * min(one.seconds for one in found)
    # Where machines are taken away all the time, what is lost must be short.
    stormy = {T4.vm_size.lower(): Life([60.0], spot_hours=10.0, taken=1000)}
    short = planner.plan(shot, look(tmp_path), config, rate, stormy)
    assert short.chunk_frames < chosen.chunk_frames and "1.0 min until a machine paints, as in 1 starts" in short.basis
    told = planner.plan(shot, look(tmp_path), Config(azure=replace(T4, chunk_seconds=5.0)), rate)
    assert told.chunk_frames == 5 * 24


def test_starts_and_losses_are_learnt_from(tmp_path: Path) -> None:
    book = ledger(tmp_path / "a.meter.json")
    for state, since, now in (("creating", 0.0, 10.0), ("idle", 90.0, 100.0), ("running", 200.0, 3700.0)):
        machine, _ = node("a", since)
        book.see([(replace(machine, state=state), 0.0)], now)
    for _ in range(2):
        book.see([(replace(machine, state="preempted"), 0.0)], 3710.0)
    life = lived(tmp_path)["standard_nc4as_t4_v3"]
    assert life.starts == [90.0] and life.taken == 1 and life.spot_hours == pytest.approx(3690 / 3600)
    wait = planner.wait_of(life)
    assert wait.boot_seconds == 90.0 and wait.taken_per_hour == pytest.approx(2 / (20 + 3690 / 3600))


def test_keeping_machines_warm_has_its_price() -> None:
    assert planner.warmth(T4) == planner.warmth(replace(T4, keep_warm_minutes=30.0)) == ""
    said = planner.warmth(replace(T4, pool="warm", keep_warm_minutes=30.0))
    assert "kept 30 min, for 0.03" in said and "saves 7 min" in said and "not live" in said


# ---- mounts ----


def test_mounts_are_read_as_the_identity_or_by_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZER_AZURE_STORAGE_KEY", "a2V5")
    monkeypatch.setenv("STYLIZER_AZURE_FILES_KEY", "ZmlsZXM=")
    places = (
        "nfs 10.0.0.4:/clips",
        "blob https://me.blob.core.windows.net/clips",
        "files https://me.file.core.windows.net/f",
    )
    folders = tuple(f"{tmp_path / place[:4].strip()} = {place}" for place in places)
    settings, soon = replace(T4, mounts=folders, shared_key=True), datetime.now(UTC) + timedelta(hours=1)
    nfs, blob, files = (one.as_dict() for one in mounts.definitions(Config(azure=settings), soon) or ())
    assert nfs["nfsMountConfiguration"]["source"] == "10.0.0.4:/clips" and ",ro" in str(nfs)
    link = blob["azureBlobFileSystemConfiguration"]["sasKey"]
    assert "sp=rl" in link and "accountKey" not in str(blob)
    assert files["azureFileShareConfiguration"]["accountKey"] == "ZmlsZXM="
    pooled = Config(azure=replace(settings, identity="/subscriptions/x", pool="warm"))
    _, blob, _ = (one.as_dict() for one in mounts.definitions(pooled, soon) or ())
    assert blob["azureBlobFileSystemConfiguration"]["identityReference"] == {"resourceId": "/subscriptions/x"}
    assert "sasKey" not in str(blob)
    assert mounts.mounted(settings, tmp_path / "blob" / "a" / "b.mp4") == "mount-1/a/b.mp4"
    assert mounts.mounted(settings, tmp_path / "elsewhere.mp4") == ""
    monkeypatch.delenv("STYLIZER_AZURE_FILES_KEY")
    with pytest.raises(ConfigError, match="Azure Files cannot be mounted"):
        mounts.definitions(Config(azure=settings), soon)


@pytest.mark.parametrize("text", ["nonsense", "relative = nfs a:/b", "/x = ftp a:/b", "/x = blob http", "/x = nfs nowhere"])
def test_mounts_that_are_not_understood_are_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"azure\.mounts"):
        list(mounts.mounts_of(replace(T4, mounts=(text,))))


# ---- what is wrong with a pool ----


def pool_with(code: str = "", scaling: str = "") -> m.BatchPool:
    errors = [{"code": code, "message": "It is so.\nRequestId:1"}] if code else []
    run_ = {"timestamp": "2026-01-01T00:00:00Z", "error": {"code": scaling, "message": "m"}} if scaling else None
    return m.BatchPool({"id": "p", "resizeErrors": errors, "autoScaleRun": run_})


def bad_node(state: str, **more: Any) -> m.BatchNode:
    return m.BatchNode({"id": "n", "state": state, **more})


@pytest.mark.parametrize(
    ("found", "nodes", "seconds", "said"),
    [
        (pool_with("AccountCoreQuotaReached"), [], 1.0, "quota of dedicated cores"),
        (pool_with("AccountSpotCoreQuotaReached"), [], 1.0, "quota of Spot cores"),
        (pool_with("AllocationFailed"), [], 3600.0, "No machine came in 60 min"),
        (pool_with(scaling="BadFormula"), [], 1.0, "formula"),
        (pool_with(), [bad_node("starttaskfailed", startTaskInfo={"exitCode": 9})], 1.0, "exit code 9"),
        (pool_with(), [bad_node("unusable", errors=[{"code": "DiskFull", "message": "full"}])], 1.0, "DiskFull"),
        (pool_with(), [], 3600.0, "does not say why"),
    ],
)
def test_what_no_waiting_mends_needs_a_person(
    found: m.BatchPool, nodes: list[m.BatchNode], seconds: float, said: str
) -> None:
    with pytest.raises(BackendRejected, match=said) as caught:
        pool.examine(T4, found, nodes, seconds)
    assert caught.value.hint and "RequestId" not in caught.value.message


@pytest.mark.parametrize(
    ("found", "nodes", "said"),
    [
        (pool_with("AllocationFailed"), [], "has none of these machines"),
        (pool_with("AllocationFailed"), [bad_node("idle")], ""),
        (pool_with("AccountCoreQuotaReached"), [bad_node("running")], ""),
        (pool_with(scaling="InsufficientSampleData"), [], ""),
        (pool_with(), [bad_node("unusable"), bad_node("starting")], ""),
        (pool_with(), [bad_node("preempted")], "taken away"),
        (None, [], ""),
    ],
)
def test_what_passes_is_waited_for(found: m.BatchPool | None, nodes: list[m.BatchNode], said: str) -> None:
    assert said in pool.examine(T4, found, nodes, 1.0)
    assert bool(said) is bool(pool.examine(T4, found, nodes, 1.0))


def test_sizes_know_their_gpus() -> None:
    assert definitions.wanted_nodes(replace(T4, vm_size="Standard_NC64as_T4_v3"), 9) == 3
    assert size_of("standard_nc4as_t4_v3").gpus == 1
