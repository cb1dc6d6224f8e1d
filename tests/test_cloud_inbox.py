"""A container of blobs as inbox and outbox, against a real Azurite."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from backends.azure.storage import Container, open_container
from backends.fake import FakeBackend
from stylizer.config import AzureDefaults, Config, WatchDefaults
from stylizer.errors import ConfigError
from stylizer.inbox.cloud import Cloud, is_plain, outbox_beside
from stylizer.inbox.sidecar import asked_by
from stylizer.inbox.watch import Kind, Moved, Thing, Watch
from stylizer.jobs import Job, JobState
from stylizer.runner import Runner
from stylizer.store import Store
from stylizer.watch_verbs import open_intake
from tests import jobs_for_tests as small
from tests.azurite import Azurite, azurite, needs_azurite
from tests.test_adopt import picture

pytestmark = needs_azurite


@pytest.fixture(scope="module")
def storage() -> Iterator[Azurite]:
    with azurite() as running:
        yield running


@pytest.fixture
def container(storage: Azurite, monkeypatch: pytest.MonkeyPatch) -> Container:
    monkeypatch.setenv("STYLIZER_AZURE_STORAGE_KEY", storage.key)
    monkeypatch.setenv("STYLIZER_AZURE_STORAGE_ENDPOINT", storage.endpoint)
    name = uuid.uuid4().hex[:12]
    made = open_container(f"az://{storage.account}/{name}/films/inbox", config())[0]
    made.create()
    return made


def config() -> Config:
    return Config(
        run=small.config().run,
        azure=AzureDefaults(shared_key=True),
        watch=WatchDefaults(quiet_seconds=0.2, scan_seconds=0.3),
    )


def put(container: Container, name: str, content: bytes, folder: Path) -> None:
    path = folder / uuid.uuid4().hex
    path.write_bytes(content)
    container.upload(path, f"films/inbox/{name}")


def thing(cloud: Cloud, path: str) -> Thing:
    found = next(file for file in cloud.listing().files if file.path == path)
    return Thing(path, Kind.CLIP, found.size, found.mark)


@pytest.mark.parametrize(
    ("inbox", "outbox"),
    [
        ("az://a/c/films/inbox", "az://a/c/films/outbox"),
        ("az://a/c/inbox/", "az://a/c/outbox"),
        ("az://a/c", "az://a/c/outbox"),
    ],
)
def test_the_outbox_lies_beside_the_inbox(inbox: str, outbox: str) -> None:
    assert outbox_beside(inbox) == outbox
    with pytest.raises(ConfigError):
        outbox_beside(outbox)


def test_a_blob_is_brought_whole_and_is_the_same_clip_each_time(container: Container, tmp_path: Path) -> None:
    put(container, "a/clip.mp4", b"one", tmp_path)
    cloud = Cloud(f"az://x/{container.name}/films/inbox", container, "films/inbox", tmp_path / "brought")
    one = thing(cloud, "a/clip.mp4")
    path = cloud.bring(one)
    facts = path.stat()
    assert path.read_bytes() == b"one" and path.name == "clip.mp4"
    cloud.discard("a/clip.mp4")
    assert not path.exists()
    again = cloud.bring(one).stat()
    assert (again.st_size, again.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    put(container, "a/clip.mp4", b"another", tmp_path)
    cloud.discard("a/clip.mp4")
    with pytest.raises(Moved):
        cloud.bring(one)
    assert cloud.bring(thing(cloud, "a/clip.mp4")).read_bytes() == b"another"


def test_names_that_could_leave_the_folder_are_not_taken(container: Container, tmp_path: Path) -> None:
    for name in ("a//b.mp4", "e:f.mp4", "fine.mp4"):
        put(container, name, b"1", tmp_path)
    cloud = Cloud("az://x/c", container, "films/inbox", tmp_path / "brought")
    found = [changes.path for changes in Watch(cloud, quiet=0, every=1).look().settled]
    assert found == ["fine.mp4"]
    assert not any(map(is_plain, ("../evil.mp4", "a/../../evil.mp4", "/evil.mp4", "a/", "a/. /b", "a\nb.mp4", "c\\d.mp4")))


def test_from_a_container_to_a_container(container: Container, storage: Azurite, tmp_path: Path) -> None:
    """Styles, sidecars, a clip, a sequence with its marker, a restart in between, and a blob that is replaced."""
    address = f"az://{storage.account}/{container.name}/films/inbox"
    places, settings = small.places(tmp_path), config()
    put(container, "clip.png", picture(1), tmp_path)
    put(container, "other.toml", b"strength = 0.5", tmp_path)
    put(container, "other.png", picture(2), tmp_path)
    for number in range(3):
        put(container, f"shot/f_{number}.png", picture(3), tmp_path)
    put(container, "shot/_READY", b"", tmp_path)

    def run(seconds: float, until: Callable[[Store], bool]) -> None:
        with Store(tmp_path / "jobs.db") as store:
            _, intake = open_intake(store, settings, places, address, "", asked_by(settings))
            fake = FakeBackend(slots=4, speed=1e5)
            runner = Runner(
                store,
                settings,
                places,
                media=replace(small.media(tmp_path), check=lambda clip: None, assemble=assemble),
                backends=lambda name: fake,
                adopt=intake.turn,
                cloud="",
            )
            deadline = time.monotonic() + seconds

            def each() -> None:
                if until(store):
                    runner.drain()
                assert time.monotonic() < deadline, [(r.path, r.state, r.reason) for r in store.found(address)]

            try:
                runner.run(stay=True, each=each)
            finally:
                intake.close()

    def assemble(job: Job, chunks: Sequence[Path], frames: int) -> Sequence[str]:
        painted.append(job.output.name)
        if job.clip.kind == "sequence":
            job.output.mkdir()
            for path in job.clip.path.iterdir():
                (job.output / path.name).write_bytes(path.read_bytes())
        else:
            job.output.write_bytes(job.clip.path.read_bytes())
        return ()

    painted: list[str] = []
    run(60, lambda store: [r.state for r in store.found(address)] == ["waiting"] * 3)
    put(container, "style.jpg", picture(4, ".jpg"), tmp_path)

    def all_there(store: Store) -> bool:
        jobs = store.jobs()
        return (
            len(jobs) == 3
            and all(d.done_at for job in jobs for d in store.deliveries(job.id))
            and all(job.state is JobState.DONE for job in jobs)
        )

    def brought() -> set[str]:
        return {path.name for path in (places.work / "inbox").rglob("*") if path.is_file()}

    # What was downloaded for jobs that are done is not kept.
    run(60, lambda store: all_there(store) and brought() <= {"style.jpg", "other.toml"})
    names = sorted(blob.name.removeprefix("films/outbox/") for blob in container.list("films/outbox/"))
    shot = [f"shot.style/f_{n}.png" for n in range(3)]
    assert names == ["clip.style.png", "other.style.png", "shot.style/_READY", *shot]
    target = tmp_path / "got.png"
    assert container.download("films/outbox/other.style.png", target).read_bytes() == picture(2)
    assert not [path for path in (places.work / "outbox").rglob("*") if path.is_file()], "what was brought away is not kept"
    put(container, "clip.png", picture(5), tmp_path)

    def replaced(store: Store) -> bool:
        # The place of the first painting is the second one's now.
        made = [delivery.job for delivery in store.deliveries() if delivery.done_at]
        return len(made) == 3 and 4 in made and all(job.state is JobState.DONE for job in store.jobs())

    run(60, replaced)
    assert container.download("films/outbox/clip.style.png", target).read_bytes() == picture(5)
    assert sorted(painted) == ["clip.style.png", "clip.style.png", "other.style.png", "shot.style"]
    assert os.environ["STYLIZER_AZURE_STORAGE_KEY"] not in (tmp_path / "jobs.db").read_bytes().decode("latin-1")
