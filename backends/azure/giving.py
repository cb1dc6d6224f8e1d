"""Specs on their way to Batch: what they need is uploaded, then a task is added for each."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.batch import models as m

from backends.azure import definitions, errands, mounts
from backends.azure.account import Account
from backends.azure.client import Closed
from backends.azure.definitions import ERRANDS, File
from backends.azure.pool import check_started, is_ours
from backends.azure.prices import size_of
from backends.azure.runs import Run
from backends.azure.staging import Staging
from backends.azure.storage import content_hash
from backends.azure.wheel import build_wheel
from stylizer.config import Config
from stylizer.errors import BackendUnavailable, InputError
from stylizer.files import digest_of
from stylizer.transfer import Errand
from stylizer.wire import ChunkSpec, Spec

MARGIN = timedelta(hours=1)
"""That links outlive the wall clock of the job: what is under way then still gets home."""
AT_ONCE = 100
"""Specs that are uploaded and added together: the first nodes begin while the rest is uploaded."""


@dataclass(slots=True)
class Giver:
    """Gives specs of any run to Batch."""

    account: Account
    config: Config
    staging: Staging
    wheel: File | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    """Give nothing more."""
    made: set[str] = field(default_factory=set)
    """Containers that are there."""

    def give(self, run: Run, specs: Sequence[Spec], *, spot: bool) -> dict[str, str]:
        """Upload what these need and add their tasks; those that are there already are left as they are. Returns the ids
        that cannot be carried out, and why. Called for one run by one thread at a time.
        """
        refused: dict[str, str] = {}
        expires = datetime.now(UTC) + timedelta(hours=self.config.azure.wall_clock_hours) + MARGIN
        self.make_containers()
        self.account.logs.begin_log(errands.run_log_name(run.key))
        for start in range(0, len(specs), AT_ONCE):
            some: dict[str, Errand] = {}
            for spec in specs[start : start + AT_ONCE]:
                if self.stopped.is_set():
                    raise BackendUnavailable("Stylizer is being closed.")
                try:
                    some[spec.id] = self._errand(run, spec, expires)
                except (InputError, OSError) as error:
                    refused[spec.id] = str(error)
            # What was cancelled while it was uploaded must not rent anything.
            some = {name: one for name, one in some.items() if run.wants(name)}
            if some:
                self._add(run, some, expires, len(specs) - len(refused), spot=spot)
        if run.generation and any(isinstance(spec, ChunkSpec) for spec in specs):
            # After a fit the chunks are still to come; after chunks nothing is, and the job ends though we be asleep.
            self.account.batch.end_when_done(run.batch_job)
        return refused

    def _errand(self, run: Run, spec: Spec, expires: datetime) -> Errand:
        staged, inputs = self.staging.stage(spec, expires)
        return errands.errand(
            staged,
            inputs,
            run.key,
            self.account.media,
            self.account.logs,
            expires,
            gpus=size_of(self.config.azure.vm_size).gpus,
            stall_seconds=self.config.run.stall_seconds,
        )

    def _add(self, run: Run, some: dict[str, Errand], expires: datetime, wanted: int, *, spot: bool) -> None:
        text = errands.errands_text(some)
        name = f"{run.key}/errands/{content_hash(' '.join(some))[:16]}.json"
        self.account.logs.put_text(name, text)
        settings = self.config.azure
        tasks = definitions.tasks(settings, list(some), self._file(ERRANDS, name, expires))
        nodes = definitions.wanted_nodes(settings, wanted)
        for _ in range(2):
            if run.ended:
                self._make_job(run, nodes, expires, spot=spot)
            try:
                refused = self.account.batch.add_tasks(run.batch_job, tasks)
                break
            except Closed:
                check_started(self.account.batch.job(run.batch_job))
                run.ended = True
        else:
            raise BackendUnavailable(f"Azure's Batch job {run.batch_job} ends as soon as it is made.")
        for one in refused:
            raise InputError(f"Azure does not take the task {one.id}: {one.error}.")
        if nodes > run.wanted and run.pool and not settings.pool:
            # More than the pool was told to begin with; asked for now, it does not wait for its next look at the queue.
            now = datetime.fromtimestamp(self.account.batch.now, UTC)
            self.account.batch.set_formula(run.pool, definitions.formula(settings, nodes, now, spot=spot))
            run.wanted = nodes

    def _make_job(self, run: Run, nodes: int, expires: datetime, *, spot: bool) -> None:
        settings = self.config.azure
        if not (settings.image or settings.python) and self.wheel is None:
            self.wheel = self._send_wheel(expires)
        now = datetime.fromtimestamp(self.account.batch.now, UTC)
        found = mounts.definitions(self.config, expires)
        specification = definitions.pool(settings, self.wheel, nodes, now, spot=spot, mounts=found)
        if settings.pool:
            self._make_pool(settings.pool, specification)
        facts = {"run": run.key, "job": str(run.job), "installation": self.account.installation}
        name = f"{run.key}-{run.generation + 1}"
        self.account.batch.create_job(definitions.job(settings, name, facts, specification))
        run.generation += 1
        run.pool, run.wanted = settings.pool, nodes
        run.ended = run.stopping = False

    def _make_pool(self, name: str, like: m.BatchPoolSpecification) -> None:
        """A named pool is made if it is not there, and kept. One of ours that is there grows at once, as the settings say
        now, and its new nodes install what runs here: the link to what it began with ends one day.
        """
        wanted = {key: value for key, value in like.items() if value is not None}
        batch = self.account.batch
        if batch.create_pool(m.BatchPoolCreateOptions({"id": name, **wanted})) or not is_ours(batch.pool(name)):
            return
        if like.start_task and like.start_task.resource_files:
            batch.set_start(name, like.start_task)
        batch.set_formula(name, like.auto_scale_formula or "")

    def _send_wheel(self, expires: datetime) -> File:
        with tempfile.TemporaryDirectory(prefix="stylizer-") as folder:
            wheel = build_wheel(Path(folder))
            name = f"code/{digest_of(wheel)}/{wheel.name}"
            self.account.logs.upload(wheel, name)
            return self._file(wheel.name, name, expires)

    def _file(self, name: str, blob: str, expires: datetime) -> File:
        """A blob that Batch itself brings to a node: as the pool's identity where it has one, else by a link."""
        settings, logs = self.config.azure, self.account.logs
        if settings.identity and settings.pool:
            return File(name, f"{logs.url}/{logs.name}/{blob}", settings.identity)
        return File(name, logs.read_link(blob, expires))

    def make_containers(self) -> None:
        for container in (self.account.media, self.account.logs):
            if container.name not in self.made:
                container.create()
                self.made.add(container.name)
