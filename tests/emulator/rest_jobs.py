"""Operations on jobs and tasks."""

from __future__ import annotations

from tests.emulator.account import Document, stamp
from tests.emulator.errors import CODES, ServiceError, invalid
from tests.emulator.jobs import Job
from tests.emulator.nodes import schedule
from tests.emulator.queries import select
from tests.emulator.rest import Answer, Request, created, operation, versions
from tests.emulator.rest_pools import check_image
from tests.emulator.tasks import Task

MOST_TASKS = 100
"""In one request."""


def job_of(request: Request) -> Job:
    job = request.account.jobs.get(request.path["jobId"])
    if job is None:
        raise ServiceError("JobNotFound")
    return job


def task_of(request: Request) -> Task:
    task = job_of(request).tasks.get(request.path["taskId"])
    if task is None:
        raise ServiceError("TaskNotFound")
    return task


@operation("POST", "/jobs", 201)
def create_job(request: Request) -> Answer:
    if request.body["id"] in request.account.jobs:
        raise ServiceError("JobExists")
    pool = request.body["poolInfo"]
    if ("poolId" in pool) == ("autoPoolSpecification" in pool):
        raise invalid("poolInfo", "", "Exactly one of poolId and autoPoolSpecification must be specified")
    if "autoPoolSpecification" in pool and "pool" in pool["autoPoolSpecification"]:
        check_image(pool["autoPoolSpecification"]["pool"])
    return created(Job(request.account, request.body))


@operation("GET", "/jobs")
def list_jobs(request: Request) -> Answer:
    jobs = request.account.jobs.values()
    return request.page("jobs", [(job.number, job.document()) for job in jobs], "/jobs")


@operation("GET", "/jobs/{jobId}")
def get_job(request: Request) -> Answer:
    job = job_of(request)
    return Answer(select(job.document(), request.query), headers=versions(job))


@operation("PATCH", "/jobs/{jobId}")
def update_job(request: Request) -> Answer:
    return change_job(request, replace=False)


@operation("PUT", "/jobs/{jobId}")
def replace_job(request: Request) -> Answer:
    return change_job(request, replace=True)


def change_job(request: Request, replace: bool) -> Answer:
    job = job_of(request)
    request.match(job)
    if job.state in ("completed", "terminating", "deleting"):
        raise ServiceError({"completed": "JobCompleted", "deleting": "JobBeingDeleted"}.get(job.state, "JobBeingTerminated"))
    job.update(request.body, replace)
    return Answer(headers=versions(job))


@operation("DELETE", "/jobs/{jobId}", 202)
def delete_job(request: Request) -> Answer:
    job = job_of(request)
    request.match(job)
    job.delete()
    return Answer()


@operation("POST", "/jobs/{jobId}/terminate", 202)
def terminate_job(request: Request) -> Answer:
    job = job_of(request)
    request.match(job)
    if job.state in ("completed", "terminating", "deleting"):
        raise ServiceError({"completed": "JobCompleted", "deleting": "JobBeingDeleted"}.get(job.state, "JobBeingTerminated"))
    job.terminate(request.body.get("terminateReason", "UserTerminate"))
    return Answer(headers=versions(job))


@operation("POST", "/jobs/{jobId}/disable", 202)
def disable_job(request: Request) -> Answer:
    job = job_of(request)
    request.match(job)
    job.disable(request.body["disableTasks"])
    return Answer(headers=versions(job))


@operation("POST", "/jobs/{jobId}/enable", 202)
def enable_job(request: Request) -> Answer:
    job = job_of(request)
    request.match(job)
    job.enable()
    return Answer(headers=versions(job))


@operation("GET", "/jobs/{jobId}/taskcounts")
def get_job_task_counts(request: Request) -> Answer:
    return Answer(job_of(request).counts())


@operation("POST", "/jobs/{jobId}/tasks", 201)
def create_task(request: Request) -> Answer:
    job = job_of(request)
    task = job.add(request.body)
    if job.pool:
        schedule(job.pool)
    return created(task)


@operation("POST", "/jobs/{jobId}/addtaskcollection")
def create_task_collection(request: Request) -> Answer:
    job = job_of(request)
    specs = request.body["value"]
    if len(specs) > MOST_TASKS:
        raise ServiceError("OutOfRangeInput", Reason=f"more than {MOST_TASKS} tasks in one request")
    if job.state in ("terminating", "deleting", "completed"):
        raise ServiceError({"completed": "JobCompleted", "deleting": "JobBeingDeleted"}.get(job.state, "JobBeingTerminated"))
    results = [add(job, spec) for spec in specs]
    if job.pool:
        schedule(job.pool)
    return Answer({"value": results})


def add(job: Job, spec: Document) -> Document:
    """One task of a collection: its failure is a result, not an error."""
    try:
        task = job.add(spec)
    except ServiceError as error:
        message = {"lang": "en-US", "value": CODES[error.code][1]}
        values = [{"key": name, "value": value} for name, value in error.values.items()]
        problem: Document = {"code": error.code, "message": message}
        if values:
            problem["values"] = values
        shown = {"status": "clienterror", "taskId": spec["id"], "error": problem}
        if error.code == "TaskExists":
            shown["location"] = job.tasks[spec["id"]].url
        return shown
    done = {"eTag": task.etag, "lastModified": stamp(task.modified), "location": task.url}
    return {"status": "success", "taskId": task.id, **done}


@operation("GET", "/jobs/{jobId}/tasks")
def list_tasks(request: Request) -> Answer:
    job = job_of(request)
    tasks = [(task.number, task.document()) for task in job.tasks.values()]
    return request.page("tasks", tasks, f"/jobs/{job.id}/tasks")


@operation("GET", "/jobs/{jobId}/tasks/{taskId}")
def get_task(request: Request) -> Answer:
    task = task_of(request)
    return Answer(select(task.document(), request.query), headers=versions(task))


@operation("PUT", "/jobs/{jobId}/tasks/{taskId}")
def replace_task(request: Request) -> Answer:
    task = task_of(request)
    request.match(task)
    task.spec["constraints"] = request.body.get("constraints", {})
    task.touch()
    return Answer(headers=versions(task))


@operation("DELETE", "/jobs/{jobId}/tasks/{taskId}")
def delete_task(request: Request) -> Answer:
    task = task_of(request)
    request.match(task)
    task.delete()
    return Answer()


@operation("POST", "/jobs/{jobId}/tasks/{taskId}/terminate", 204)
def terminate_task(request: Request) -> Answer:
    task = task_of(request)
    request.match(task)
    if task.state == "completed":
        raise ServiceError("TaskCompleted")
    task.end()
    return Answer()


@operation("POST", "/jobs/{jobId}/tasks/{taskId}/reactivate", 204)
def reactivate_task(request: Request) -> Answer:
    task = task_of(request)
    request.match(task)
    task.reactivate()
    return Answer()
