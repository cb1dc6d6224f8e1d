"""The runner's step `meter`: what rented machines have cost is written down, and they are stopped before it is too much."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from stylizer.backend import Meter
from stylizer.errors import BackendRejected, BackendUnavailable
from stylizer.jobs import FINISHED
from stylizer.ledger import Money, day_of
from stylizer.work import UNDER_WAY, Run, fail, is_auto, take_back

METER_SECONDS = 5.0
"""Between two looks at what has been spent."""
LEAVING_SECONDS = 180.0
"""So long machines of finished jobs are watched as they go."""
NO_MORE = 0.9
"""Share of a limit after which nothing more is rented for a job; at all of it what is rented ends."""


def meter(run: Run, *, now: bool = False) -> None:
    """Write down what backends have spent, end what is rented for jobs that are finished, and keep to the limits: of each
    job, and of the day.
    """
    if run.clock() < run.metered_at + METER_SECONDS and not now:
        return
    run.metered_at = run.clock()
    _write_down(run)
    spent = run.store.money()
    for one in spent:
        if not one.meter.final and not run.store.is_unfinished(one.meter.job):
            _end(run, one)
    _keep_limits(run, spent)
    if now:
        _write_down(run)


def _write_down(run: Run) -> None:
    for name, backend in run.backends.items():
        try:
            found = backend.meters() if run.is_well(name) else ()
        except (BackendUnavailable, BackendRejected):
            # The next poll tells of it; what is spent meanwhile the backend counts by itself.
            continue
        for one in found:
            if run.store.has_job(one.job):
                run.store.meter(name, one)
                _tell(run, one)
    _keep_limits(run, run.store.money())


def _tell(run: Run, one: Meter) -> None:
    """What has become of its machines, each once."""
    for text in one.said:
        if (one.job, text) not in run.said:
            run.said.add((one.job, text))
            run.store.note(one.job, None, "machine", text)


def _keep_limits(run: Run, spent: Sequence[Money]) -> None:
    day = run.store.spent_on(day_of(run.clock()))
    run.broke.clear()
    for one in spent:
        job = run.store.job(one.meter.job)
        if job.state in FINISHED and one.meter.final:
            continue
        limits = (
            (one.meter.spent, job.max_cost, f"its limit of {job.max_cost:.2f} {one.meter.currency} is spent"),
            (day, run.config.place.max_cost_day, "what may be spent in a day is spent"),
        )
        for amount, limit, words in limits:
            if limit and amount >= Decimal(limit) * Decimal(NO_MORE):
                run.broke[job.id] = words
            if limit and amount >= Decimal(limit):
                _stop(run, one, words)
                break


def _stop(run: Run, one: Money, words: str) -> None:
    """End what is rented for a job. One that may be painted here goes on here, one that was bound to the cloud fails."""
    job = run.store.job(one.meter.job)
    if one.meter.final or job.state in FINISHED or not _end(run, one):
        return
    take_back(run, job, UNDER_WAY, backend=one.backend)
    cost = f"{one.meter.spent:.2f} {one.meter.currency}"
    text = f"Job {job.id} has cost {cost}: {words}. Its rented machines were stopped; what is painted is kept."
    if is_auto(job):
        run.store.note(job.id, None, "money", text + " It goes on here.")
    else:
        hint = f"To go on here: stylizer retry {job.id} --backend local; or allow more: --max-cost with the same command."
        fail(run, job.id, text, hint)


def is_counting(run: Run) -> bool:
    """Whether machines of jobs that were just finished have still to be seen going: then what they cost is known."""
    for one in run.store.money():
        if not one.meter.final and one.backend in run.backends and (run.focus is None or one.meter.job in run.focus):
            job = run.store.job(one.meter.job)
            if job.state in FINISHED and run.clock() - (job.finished_at or 0.0) < LEAVING_SECONDS:
                return True
    return False


def _end(run: Run, one: Money) -> bool:
    """Let nothing of a job cost anything any more; False if that was said before, or could not be said."""
    which = (one.meter.job, one.backend)
    if which in run.stopped or one.backend not in run.backends:
        return False
    try:
        run.backends[one.backend].stop_spending(one.meter.job)
    except (BackendUnavailable, BackendRejected):
        # It is said again the next time; the backend's own limits hold meanwhile.
        return False
    run.stopped.add(which)
    return True
