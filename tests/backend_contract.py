"""What every backend must do. A backend's tests subclass BackendContract and make one."""

from pathlib import Path

import pytest

from stylizer.backend import Backend, Phase, Report
from stylizer.files import digest_of
from tests.jobs_for_tests import chunk_spec, fit_spec, look, until


class BackendContract:
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        raise NotImplementedError

    @pytest.fixture
    def slow_backend(self, tmp_path: Path) -> Backend:
        """One whose chunks do not end while a test looks."""
        raise NotImplementedError

    @staticmethod
    def ended(backend: Backend, names: list[str]) -> dict[str, Report]:
        found: dict[str, Report] = {}

        def all_ended() -> bool:
            found.update({report.id: report for report in backend.poll(names)})
            return all(report.phase not in (Phase.WAITING, Phase.RUNNING) for report in found.values())

        until(all_ended)
        return found

    def test_paints_and_fetches(self, backend: Backend, tmp_path: Path) -> None:
        specs = [fit_spec(tmp_path), *(chunk_spec(tmp_path, n) for n in range(3))]
        backend.submit(specs)
        reports = self.ended(backend, [spec.id for spec in specs])
        for spec in specs:
            report = reports[spec.id]
            assert report.phase is Phase.DONE, report
            assert digest_of(backend.fetch(spec)) == report.digest
            assert backend.fetch(spec) == spec.output
            assert report.worker and report.seconds > 0
        assert reports[specs[1].id].done == 24

    def test_answers_once_for_each_id_and_lost_for_an_unknown_one(self, backend: Backend, tmp_path: Path) -> None:
        spec = chunk_spec(tmp_path)
        backend.submit([spec])
        reports = backend.poll([spec.id, "9-00009-9"])
        assert sorted(report.id for report in reports) == sorted([spec.id, "9-00009-9"])
        assert [report.phase for report in reports if report.id == "9-00009-9"] == [Phase.LOST]

    def test_submitting_twice_is_submitting_once(self, backend: Backend, tmp_path: Path) -> None:
        spec = chunk_spec(tmp_path)
        backend.submit([spec])
        backend.submit([spec])
        first = self.ended(backend, [spec.id])[spec.id]
        backend.submit([spec])
        assert backend.poll([spec.id]) == [first]

    def test_capacity_shrinks_by_what_is_under_way(self, slow_backend: Backend, tmp_path: Path) -> None:
        before = slow_backend.capacity()
        assert 0 < before.total <= before.free and before.label
        slow_backend.submit([chunk_spec(tmp_path)])
        assert slow_backend.capacity().free == before.free - 1

    def test_cancelled_is_lost_and_makes_room(self, slow_backend: Backend, tmp_path: Path) -> None:
        free = slow_backend.capacity().free
        specs = [chunk_spec(tmp_path, n) for n in range(2)]
        slow_backend.submit(specs)
        until(lambda: any(r.phase is Phase.RUNNING for r in slow_backend.poll([s.id for s in specs])))
        for _ in range(2):
            slow_backend.cancel([*(spec.id for spec in specs), "9-00009-9"])
        assert [report.phase for report in slow_backend.poll([spec.id for spec in specs])] == [Phase.LOST] * 2
        until(lambda: slow_backend.capacity().free == free)
        assert not any(spec.output.exists() for spec in specs)

    def test_closed_has_lost_what_ran(self, slow_backend: Backend, tmp_path: Path) -> None:
        spec = chunk_spec(tmp_path)
        slow_backend.submit([spec])
        slow_backend.close()
        assert slow_backend.poll([spec.id])[0].phase is Phase.LOST

    def test_estimates_say_what_they_rest_on(self, backend: Backend, tmp_path: Path) -> None:
        estimate = backend.estimate(chunk_spec(tmp_path).clip, look(tmp_path))
        assert estimate.frames == 240 and estimate.seconds > 0 and estimate.basis
