from collections.abc import Iterator
from pathlib import Path

import pytest

from stylizer.backend import Backend
from tests.azure_for_tests import Cloud, cloud
from tests.azurite import Azurite, azurite, missing
from tests.backend_contract import BackendContract

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture
def account(storage: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    (tmp_path / "art.jpg").write_bytes(b"a style, as far as these tests go")
    (tmp_path / "look.safetensors").write_bytes(b"a checkpoint, as far as these tests go")
    with cloud(storage, tmp_path, monkeypatch) as made:
        yield made
        assert made.batch.violations == []


class TestContract(BackendContract):
    @pytest.fixture
    def backend(self, account: Cloud) -> Backend:
        return account.backend()

    @pytest.fixture
    def slow_backend(self, account: Cloud) -> Backend:
        account.tell_workers(pace=60.0)
        return account.backend()
