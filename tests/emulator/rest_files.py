"""Operations on the files of tasks and nodes."""

from __future__ import annotations

import mimetypes
import re
import shutil
import stat
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote

from tests.emulator.account import Document, stamp
from tests.emulator.errors import ServiceError
from tests.emulator.nodes import READY
from tests.emulator.rest import Answer, Request, operation
from tests.emulator.rest_jobs import task_of
from tests.emulator.rest_pools import node_of


def task_folder(request: Request) -> tuple[Path, str]:
    """Where the task's files are, and the URL of that folder. They live and die with the node."""
    task = task_of(request)
    if task.files is None or task.node is None:
        raise ServiceError("FileNotFound" if task.state == "active" else "TaskFilesUnavailable")
    if task.node.id not in task.node.pool.nodes or task.node.state == "preempted":
        raise ServiceError("TaskFilesUnavailable")
    return task.files, f"{task.url}/files"


def node_folder(request: Request) -> tuple[Path, str]:
    node = node_of(request)
    if node.state not in (*READY, "waitingforstarttask", "starttaskfailed", "offline"):
        raise ServiceError("OperationInvalidForCurrentState")
    return node.folder, f"{request.account.url}{node.path}/files"


def file_of(place: tuple[Path, str], request: Request) -> tuple[Path, str]:
    folder, url = place
    path = (folder / request.path["filePath"]).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.exists():
        raise ServiceError("FileNotFound")
    return path, f"{url}/{quote(request.path['filePath'])}"


def listing(request: Request, place: tuple[Path, str]) -> Answer:
    folder, url = place
    recursive = request.query.get("recursive") == "true"
    paths = sorted(folder.rglob("*") if recursive else folder.glob("*"))
    return request.page(
        "files", enumerate([entry(path, folder, url) for path in paths], start=1), url.removeprefix(request.account.url)
    )


def entry(path: Path, folder: Path, url: str) -> Document:
    name = path.relative_to(folder).as_posix()
    shown: Document = {"name": name, "url": f"{url}/{quote(name)}", "isDirectory": path.is_dir()}
    if not path.is_dir():
        about = path.stat()
        shown["properties"] = {
            "lastModified": stamp(datetime.fromtimestamp(about.st_mtime, UTC)),
            "contentLength": about.st_size,
            "contentType": mimetypes.guess_type(name)[0] or "application/octet-stream",
            "fileMode": oct(stat.S_IFMT(about.st_mode) | stat.S_IMODE(about.st_mode)),
        }
    return shown


def describe(path: Path, url: str) -> dict[str, str]:
    """The headers that the service sends with a file and instead of it."""
    about = path.stat()
    return {
        "Content-Type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        "Last-Modified": format_datetime(datetime.fromtimestamp(about.st_mtime, UTC), usegmt=True),
        "ocp-creation-time": format_datetime(datetime.fromtimestamp(about.st_ctime, UTC), usegmt=True),
        "ocp-batch-file-isdirectory": str(path.is_dir()).lower(),
        "ocp-batch-file-url": url,
        "ocp-batch-file-mode": oct(about.st_mode),
    }


def content(request: Request, found: tuple[Path, str]) -> Answer:
    """The bytes that ocp-range asks for; 416 for a range that begins at or beyond the end."""
    path, url = found
    if path.is_dir():
        raise ServiceError("FileNotFound")
    whole, wanted = path.read_bytes(), request.headers.get("ocp-range", "")
    headers = describe(path, url)
    if wanted:
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if asked is None or not any(asked.groups()):
            raise ServiceError("InvalidHeaderValue", HeaderName="ocp-range", HeaderValue=wanted)
        first = int(asked[1]) if asked[1] else max(0, len(whole) - int(asked[2]))
        last = int(asked[2]) + 1 if asked[1] and asked[2] else len(whole)
        if first >= len(whole):
            raise ServiceError("InvalidRange")
        whole = whole[first:last]
    return Answer(content=whole, headers=headers)


def properties(found: tuple[Path, str]) -> Answer:
    path, url = found
    length = 0 if path.is_dir() else path.stat().st_size
    return Answer(headers={**describe(path, url), "Content-Length": str(length)})


def remove(request: Request, path: Path) -> Answer:
    if not path.is_dir():
        path.unlink()
    elif request.query.get("recursive") == "true" or not any(path.iterdir()):
        shutil.rmtree(path)
    else:
        raise ServiceError("OperationInvalidForCurrentState")
    return Answer()


@operation("GET", "/jobs/{jobId}/tasks/{taskId}/files")
def list_task_files(request: Request) -> Answer:
    return listing(request, task_folder(request))


@operation("GET", "/jobs/{jobId}/tasks/{taskId}/files/{filePath}")
def download_task_file(request: Request) -> Answer:
    return content(request, file_of(task_folder(request), request))


@operation("HEAD", "/jobs/{jobId}/tasks/{taskId}/files/{filePath}")
def get_task_file_properties(request: Request) -> Answer:
    return properties(file_of(task_folder(request), request))


@operation("DELETE", "/jobs/{jobId}/tasks/{taskId}/files/{filePath}")
def delete_task_file(request: Request) -> Answer:
    return remove(request, file_of(task_folder(request), request)[0])


@operation("GET", "/pools/{poolId}/nodes/{nodeId}/files")
def list_node_files(request: Request) -> Answer:
    return listing(request, node_folder(request))


@operation("GET", "/pools/{poolId}/nodes/{nodeId}/files/{filePath}")
def download_node_file(request: Request) -> Answer:
    return content(request, file_of(node_folder(request), request))


@operation("HEAD", "/pools/{poolId}/nodes/{nodeId}/files/{filePath}")
def get_node_file_properties(request: Request) -> Answer:
    return properties(file_of(node_folder(request), request))


@operation("DELETE", "/pools/{poolId}/nodes/{nodeId}/files/{filePath}")
def delete_node_file(request: Request) -> Answer:
    return remove(request, file_of(node_folder(request), request)[0])
