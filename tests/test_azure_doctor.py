"""What the doctor says of an account; and the same account by Entra, over TLS, with user-delegation links."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from backends.azure.doctor import examine_azure, quotas
from stylizer.backend import Phase
from stylizer.check import Check
from stylizer.config import AzureDefaults, Config
from tests.azure_for_tests import FAKE_NODE, ROOT, Cloud, cloud, quick
from tests.azurite import Azurite, Login, azurite, missing
from tests.emulator.faults import Fault
from tests.emulator.server import Emulator
from tests.jobs_for_tests import chunk_spec, until

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture
def account(storage: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path / "home"))
    (tmp_path / "look.safetensors").write_bytes(b"a checkpoint, as far as these tests go")
    with cloud(storage, tmp_path, monkeypatch) as made:
        yield made


def said(settings: AzureDefaults) -> dict[str, Check]:
    return {check.name: check for check in examine_azure(Config(azure=settings))}


def test_an_account_that_works(account: Cloud) -> None:
    found = said(account.settings())
    assert {check.verdict for check in found.values()} == {"good", "poor"}
    assert "quota" in found and "not looked up" in found["quota"].found
    assert found["links"].verdict == found["image"].verdict == found["clock"].verdict == "good"
    assert "not live" in found["machines"].found


def test_what_is_wrong_is_named_with_its_cure(account: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(AzureDefaults())["azure"].verdict == "bad"
    assert "seven days" in said(account.settings(wall_clock_hours=200.0))["limit"].found
    fault = account.batch.faults.add(Fault("*", status=403, code="AuthorizationFailure"))
    assert "Azure Batch Data Contributor" in said(account.settings())["batch"].advice
    account.batch.faults.clear()
    assert fault.status == 403
    monkeypatch.setenv("STYLIZER_AZURE_STORAGE_KEY", "d3Jvbmc=")
    found = said(account.settings())
    assert found["media"].verdict == "bad" and "Storage Blob Data Contributor" in found["media"].advice
    monkeypatch.delenv("STYLIZER_AZURE_BATCH_KEY")
    assert "STYLIZER_AZURE_BATCH_KEY" in said(account.settings())["azure"].found


def test_a_clock_that_is_wrong_is_said(account: Cloud) -> None:
    account.batch.advance(3600.0)
    assert "behind Azure's" in said(account.settings())["clock"].found


def test_leftovers_are_named(account: Cloud, tmp_path: Path) -> None:
    account.tell_workers(pace=60.0)
    backend, spec = account.backend(), chunk_spec(tmp_path)
    backend.submit([spec])
    until(lambda: backend.poll([spec.id])[0].phase is Phase.RUNNING)
    assert said(account.settings())["leftovers"].verdict == "good"
    driver = backend._driver
    assert driver
    (run,) = driver.runs.values()
    driver.account.logs.release(f"{run.key}/lock", driver.holder)
    run.held_at = float("inf")
    assert "1 machine that cost" in said(account.settings())["leftovers"].found


def offer(**quota: object) -> SimpleNamespace:
    plain = {
        "low_priority_core_quota": 100,
        "dedicated_core_quota": 50,
        "dedicated_core_quota_per_vm_family": [SimpleNamespace(name="standard NCASv3_T4 Family", core_quota=4)],
        "dedicated_core_quota_per_vm_family_enforced": True,
    }
    return SimpleNamespace(**{**plain, **quota})


@pytest.mark.parametrize(
    ("spot", "quota", "verdict", "words"),
    [
        (True, {}, "good", "100 Spot cores"),
        (True, {"low_priority_core_quota": 0}, "bad", "0 Spot cores"),
        (True, {"low_priority_core_quota": 9}, "poor", "2 at once"),
        (True, {"low_priority_core_quota": None}, "poor", "does not say"),
        (False, {}, "poor", "1 at once"),
        (False, {"dedicated_core_quota_per_vm_family": []}, "bad", "0 dedicated cores of standardNCASv3_T4Family"),
        (False, {"dedicated_core_quota_per_vm_family_enforced": False}, "good", "50 dedicated cores"),
    ],
)
def test_quotas_are_held_against_what_is_wanted(spot: bool, quota: dict[str, object], verdict: str, words: str) -> None:
    (check,) = quotas(AzureDefaults(spot=spot), offer(**quota))
    assert check.verdict == verdict and words in check.found


def test_a_run_by_entra_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLIZER_HOME", str(tmp_path / "home"))
    (tmp_path / "look.safetensors").write_bytes(b"a checkpoint, as far as these tests go")
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Login)
    with azurite(oauth=True) as storage, Emulator(scale=60, script=quick(), tls=True, trust=storage.cert) as batch:
        assert storage.cert and batch.cert
        merge, certificates = requests.Session.merge_environment_settings, {batch.url: batch.cert, "": storage.cert}

        def trusting(self: requests.Session, url: str, *rest: Any) -> Any:
            # Two certificates of one name in one bundle: only one of them would be found.
            verify = next(str(cert) for begin, cert in certificates.items() if url.startswith(begin))
            return {**merge(self, url, *rest), "verify": verify}

        monkeypatch.setattr(requests.Session, "merge_environment_settings", trusting)
        batch.script.node_environment = {"PYTHONPATH": str(ROOT), "SSL_CERT_FILE": str(storage.cert)}
        made = Cloud(batch, storage, tmp_path)
        settings = replace(made.settings(), shared_key=False, batch=batch.url, python=f"{sys.executable} {FAKE_NODE}")
        found = said(settings)
        assert found["sign-in"].verdict == found["links"].verdict == found["batch"].verdict == "good"
        assert "delegation" in found["links"].found
        monkeypatch.setattr(Cloud, "settings", lambda self, **changes: settings)
        backend, spec = made.backend(), chunk_spec(tmp_path)
        backend.submit([spec])
        until(lambda: backend.poll([spec.id])[0].phase is Phase.DONE)
        assert backend.fetch(spec).exists()
        backend.close()
        assert batch.violations == []
