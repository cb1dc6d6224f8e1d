"""Azure Batch as we use it: the one place that calls its SDK and knows what the SDK does not tell.

- Every 409 is a ResourceExistsError, so what happened is read from the code, never from the class.
- `create_tasks` puts tasks that met a 5xx back for ever; a collection of at most 100 is added by ourselves instead.
- Terminating a job without options is refused by the SDK.
- Pollers swallow errors: their status is looked at.
- `logging_enable` prints bearer tokens and links; it is never set.
"""

from __future__ import annotations

import os
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, TypeVar

from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential, TokenCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.polling import LROPoller

from backends.azure.faults import Missing, clean, code_of, speaking, translated
from stylizer.config import Config
from stylizer.errors import BackendRejected, BackendUnavailable, ConfigError

BATCH_KEY = "STYLIZER_AZURE_BATCH_KEY"
AT_ONCE = 100
"""Tasks that one call may add."""
GONE = ("JobTerminating", "JobDeleting", "JobCompleted", "JobBeingDeleted", "JobBeingTerminated")
"""Answers that mean: this job takes no more tasks."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refused:
    """A task that Batch would not take, and why."""

    id: str
    error: str


class Closed(Exception):
    """The job takes no more tasks: it is done, was ended or deleted."""


class Clock(SansIOHTTPPolicy[Any, Any]):
    """Azure's clock, as its answers tell it; ours until the first."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    @property
    def now(self) -> float:
        return self._ahead + time.monotonic()

    def on_response(self, _: PipelineRequest[Any], response: PipelineResponse[Any, Any]) -> None:
        with suppress(KeyError, TypeError, ValueError):
            # To the second; the middle of it is the best guess.
            there = parsedate_to_datetime(response.http_response.headers["Date"]).timestamp() + 0.5
            self._ahead = there - time.monotonic()


class Batch:
    """One Batch account. Verbs raise BackendUnavailable or BackendRejected; what is not there is `Missing`."""

    def __init__(self, endpoint: str, credential: TokenCredential | AzureNamedKeyCredential) -> None:
        self.endpoint = endpoint
        self._clock = Clock()
        self._credential = credential

    @cached_property
    def _sdk(self) -> BatchClient:
        return BatchClient(
            self.endpoint,
            self._credential,
            retry_total=6,
            retry_backoff_max=30,
            connection_timeout=20,
            read_timeout=60,
            per_call_policies=[self._clock],
        )

    @property
    def now(self) -> float:
        """Unix time by Azure's clock; ours may be wrong."""
        return self._clock.now

    # ---- jobs ----

    def create_job(self, job: m.BatchJobCreateOptions) -> None:
        """Repeatable: a job of that id that is there is left as it is."""
        with speaking(f"the Batch job {job.id} was made"):
            try:
                self._sdk.create_job(job)
            except ResourceExistsError as error:
                if code_of(error) == "ActiveJobAndScheduleQuotaReached":
                    raise BackendRejected(
                        "This Batch account has as many active jobs as it may have.",
                        hint="End leftovers with stylizer azure clean, or ask for more in the portal under Quotas.",
                    ) from None
                if code_of(error) != "JobExists":
                    raise

    def job(self, name: str) -> m.BatchJob:
        with speaking(f"the Batch job {name} was looked at"):
            return self._sdk.get_job(name)

    def jobs(self, prefix: str) -> Iterator[m.BatchJob]:
        """The jobs whose ids begin so."""
        with speaking("Batch jobs were listed"):
            yield from self._sdk.list_jobs(filter=f"startswith(id,'{prefix}')")

    def end_when_done(self, name: str) -> None:
        """From now on the job ends, and its auto-pool with it, when all its tasks are complete."""
        options = m.BatchJobUpdateOptions(all_tasks_complete_mode=m.BatchAllTasksCompleteMode.TERMINATE_JOB)
        self._quiet(f"the end of {name} was arranged", lambda: self._sdk.update_job(name, options))

    def end_job(self, name: str, reason: str) -> None:
        """End it, and its auto-pool with it. Repeatable; a job that is gone has ended."""
        # The class for these options is not public.
        self._quiet(
            f"the Batch job {name} was ended",
            lambda: self._sdk.begin_terminate_job(name, options={"terminateReason": reason}, polling_interval=60),  # type: ignore[arg-type]
        )

    def delete_job(self, name: str) -> None:
        """End and forget it, with its tasks and its auto-pool. Repeatable."""
        self._wait(f"the Batch job {name} was deleted", lambda: self._sdk.begin_delete_job(name, polling_interval=1))

    # ---- tasks ----

    def add_tasks(self, job: str, tasks: Sequence[m.BatchTaskCreateOptions]) -> list[Refused]:
        """Add tasks; those that are there already are left as they are. Returns what Batch will not take. `Closed` if the
        job takes none any more.
        """
        refused = []
        for start in range(0, len(tasks), AT_ONCE):
            refused += self._add(job, tasks[start : start + AT_ONCE])
        return refused

    def _add(self, job: str, tasks: Sequence[m.BatchTaskCreateOptions]) -> list[Refused]:
        with speaking(f"tasks were added to {job}"):
            try:
                found = self._sdk.create_task_collection(job, m.BatchTaskGroup(task_values=[*tasks]))
            except HttpResponseError as error:
                if code_of(error) in GONE or code_of(error) == "JobNotFound":
                    raise Closed from None
                if error.status_code == 413 and len(tasks) > 1:
                    half = len(tasks) // 2
                    return [*self._add(job, tasks[:half]), *self._add(job, tasks[half:])]
                raise
        refused = []
        for one in found.result_values or ():
            code = one.error.code if one.error else ""
            if code in GONE:
                raise Closed
            if one.status == m.BatchTaskAddStatus.SERVER_ERROR:
                raise BackendUnavailable(f"Azure is busy while tasks were added to {job} ({code}).")
            if one.error and code != "TaskExists":
                message = one.error.message.value if one.error.message and one.error.message.value else ""
                refused.append(Refused(one.task_id, f"{code}: {clean(message)}"))
        return refused

    def tasks(self, job: str, *, only: str = "") -> Iterator[m.BatchTask]:
        """The tasks of a job, in one state if `only` names it; 1,000 a call."""
        wanted = ["id", "state", "executionInfo", "nodeInfo"]
        with speaking(f"the tasks of {job} were listed"):
            yield from self._sdk.list_tasks(job, filter=f"state eq '{only}'" if only else None, select=wanted)

    def end_task(self, job: str, task: str) -> None:
        """Repeatable; one that is complete or gone has ended."""
        self._quiet(f"the task {task} was ended", lambda: self._sdk.terminate_task(job, task))

    def task_counts(self, job: str) -> m.BatchTaskCounts:
        """As Batch counts them; a little behind, and no truth."""
        with speaking(f"the tasks of {job} were counted"):
            return self._sdk.get_job_task_counts(job).task_counts

    def task_text(self, job: str, task: str, file: str, start: int = 0) -> str:
        """A file of a task from a byte on, from its node; empty where there is none (any more)."""
        return self._text(
            f"{file} of {task} was read", lambda ask: self._sdk.download_task_file(job, task, file, **ask), start
        )

    # ---- pools ----

    def pool(self, name: str) -> m.BatchPool:
        with speaking(f"the pool {name} was looked at"):
            return self._sdk.get_pool(name)

    def pools(self, prefix: str = "") -> Iterator[m.BatchPool]:
        with speaking("pools were listed"):
            yield from self._sdk.list_pools(filter=f"startswith(id,'{prefix}')" if prefix else None)

    def create_pool(self, pool: m.BatchPoolCreateOptions) -> bool:
        """Whether it was made; a pool of that id that is there is left as it is."""
        with speaking(f"the pool {pool.id} was made"):
            try:
                self._sdk.create_pool(pool)
            except ResourceExistsError as error:
                if code_of(error) != "PoolExists":
                    raise
                return False
            return True

    def set_start(self, pool: str, start: m.BatchStartTask) -> None:
        """What nodes run first that come to the pool from now on."""
        with speaking(f"the start of nodes of {pool} was set"):
            self._sdk.update_pool(pool, m.BatchPoolUpdateOptions(start_task=start))

    def delete_pool(self, name: str) -> None:
        """Repeatable."""
        self._wait(f"the pool {name} was deleted", lambda: self._sdk.begin_delete_pool(name, polling_interval=1))

    def set_formula(self, pool: str, formula: str) -> None:
        """Let the pool follow another formula, at once; not where one was set half a minute ago, which Batch refuses."""
        with speaking(f"the size of {pool} was set"):
            try:
                self._sdk.enable_pool_auto_scale(pool, m.BatchPoolEnableAutoScaleOptions(auto_scale_formula=formula))
            except HttpResponseError as error:
                if code_of(error) != "TooManyEnableAutoScaleRequests":
                    raise

    def nodes(self, pool: str) -> list[m.BatchNode]:
        """The nodes of a pool; none where there is no pool."""
        wanted = ["id", "state", "stateTransitionTime", "allocationTime", "vmSize", "isDedicated", "errors", "startTaskInfo"]
        try:
            with speaking(f"the nodes of {pool} were listed"):
                return list(self._sdk.list_nodes(pool, select=wanted))
        except Missing:
            return []

    def node_text(self, pool: str, node: str, file: str) -> str:
        """A file of a node; empty where there is none (any more)."""
        return self._text(f"{file} of {node} was read", lambda ask: self._sdk.download_node_file(pool, node, file, **ask), 0)

    def hand_over_logs(self, pool: str, node: str, link: str, since: datetime) -> str:
        """Have a node's agent bring its logs to the container behind `link`; returns the folder in it."""
        options = m.UploadBatchServiceLogsOptions(container_url=link, start_time=since)
        with speaking(f"the logs of {node} were asked for"):
            return self._sdk.upload_node_logs(pool, node, options).virtual_directory_name

    def images(self) -> Iterator[m.BatchSupportedImage]:
        with speaking("images were listed"):
            yield from self._sdk.list_supported_images(filter="verificationType eq 'verified'")

    # ---- what they share ----

    def _text(self, doing: str, read: Callable[[dict[str, Any]], Iterator[bytes]], start: int) -> str:
        with speaking(doing):
            try:
                content = b"".join(read({"ocp_range": f"bytes={start}-"} if start else {}))
            except HttpResponseError as error:
                # The node is gone, the file is not there yet, or there is nothing after `start`.
                if error.status_code in (404, 409, 416):
                    return ""
                raise
        return content.decode("utf-8", "replace")

    def _quiet(self, doing: str, act: Callable[[], object]) -> None:
        """Do what may have been done, or become needless, before."""
        with speaking(doing):
            try:
                act()
            except HttpResponseError as error:
                if error.status_code not in (404, 409):
                    raise

    def _wait(self, doing: str, begin: Callable[[], LROPoller[None]]) -> None:
        with speaking(doing):
            try:
                poller = begin()
            except HttpResponseError as error:
                if error.status_code in (404, 409):
                    return
                raise translated(error, doing) from None
            poller.wait(timeout=120)
            if poller.status() == "Failed":
                raise BackendUnavailable(f"Azure did not say whether {doing}.", hint="Look with stylizer azure ls.")


def open_batch(config: Config) -> Batch:
    """The Batch account of the config. BackendRejected if none is set up."""
    if not config.azure.batch:
        raise BackendRejected("Azure is not set up.", hint="Run stylizer azure init; it asks for what it needs.")
    parts = urllib.parse.urlsplit(config.azure.batch)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ConfigError(
            f"azure.batch {config.azure.batch!r} is not the address of a Batch account.",
            hint="It looks like https://NAME.REGION.batch.azure.com; the portal shows it.",
        )
    endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if not config.azure.shared_key:
        if parts.scheme != "https":
            raise ConfigError(f"{endpoint} is not https, and tokens are never sent in the open.", hint="Say https://….")
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415

        return Batch(endpoint, DefaultAzureCredential())
    key = os.environ.get(BATCH_KEY, "")
    if not key:
        raise ConfigError(
            f"azure.shared_key is set, but {BATCH_KEY} is not in the environment.",
            hint="Put the Batch account's key there, or set azure.shared_key = false and sign in with az login.",
        )
    # An account that is no label of a host (an emulator's) stands before it: http://account@127.0.0.1:1234
    account = parts.username or parts.hostname.partition(".")[0]
    return Batch(endpoint, AzureNamedKeyCredential(account, key))
