"""A run on the real Azure, for the owner of an account: one T4 Spot node, two chunks, about 0.05 USD.

    STYLIZER_LIVE=1 python -m pytest -m live tests/test_azure_live.py

with the [azure] section of your own config, as `stylizer azure init` wrote it.
"""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from backends.azure import AzureBackend
from backends.azure.doctor import examine_azure
from backends.azure.faults import Missing
from backends.azure.reading import Reader
from stylizer.backend import Phase
from stylizer.checkpoint import Checkpoint, save_checkpoint
from stylizer.config import load_config, places
from stylizer.files import digest_of
from stylizer.jobs import FrameRange
from stylizer.network import Dims, TransformNetwork
from stylizer.video import probe
from tests.azure_for_tests import ended
from tests.jobs_for_tests import chunk_spec, until
from tests.media import make_clip


@pytest.mark.live
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not os.environ.get("STYLIZER_LIVE"), reason="spends money; STYLIZER_LIVE=1 allows it")
def test_two_chunks_on_a_real_node(tmp_path: Path) -> None:
    config = load_config(places().config)
    config = replace(config, azure=replace(config.azure, nodes=1, spot=True, wall_clock_hours=1.0))
    assert [check for check in examine_azure(config) if check.verdict == "bad"] == []
    checkpoint, clip = tmp_path / "real.safetensors", probe(make_clip(tmp_path / "clip.mp4", times=range(48)))
    save_checkpoint(Checkpoint(TransformNetwork(Dims()), {}), checkpoint)
    specs = [
        replace(chunk_spec(tmp_path, n), clip=clip, frames=FrameRange(24 * n, 24 * n + 24), checkpoint=checkpoint)
        for n in range(2)
    ]
    backend = AzureBackend(config, home=tmp_path / "azure")
    try:
        backend.submit(specs)
        reports = ended(backend, [spec.id for spec in specs], 3000.0)
        driver = backend._driver
        assert driver
        (run,) = driver.runs.values()
        with suppress(Missing):
            scaled = driver.account.batch.pool(run.pool).auto_scale_run
            assert scaled is None or scaled.error is None, scaled
        for spec in specs:
            assert reports[spec.id].phase is Phase.DONE, reports[spec.id]
            assert digest_of(backend.fetch(spec)) == reports[spec.id].digest
        told = [text for _, text in Reader(driver.account, 1).read()]
        assert sum('"finished"' in text for text in told) == 2 and any('"state"' in text for text in told)
        until(lambda: backend.meters()[0].final, 900.0)
        assert 0 < backend.meters()[0].spent < 1
    finally:
        backend.stop_spending(1)
        backend.close()
