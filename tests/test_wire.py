import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylizer.errors import InputError
from stylizer.jobs import Clip, Encoding, FrameRange, Look, MediaKind, Quality, StyleImage
from stylizer.wire import MAX_LINE, VERSION, ChunkSpec, FitSpec, Line, Spec, dumps, hear, loads, pack, say, unpack

words = st.text(max_size=20)
paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20).map(Path)
numbers = st.integers(0, 10**9)
shares = st.floats(0, 1)
clips = st.builds(
    Clip,
    path=paths,
    kind=st.sampled_from(MediaKind),
    width=numbers,
    height=numbers,
    frames=numbers,
    rate=st.fractions(0, 1000),
    duration=st.floats(0, 1e6),
    codec=words,
    pixel_format=words,
    rotation=st.sampled_from([0, 90, 180, 270]),
    audio_tracks=numbers,
    fingerprint=words,
    notes=st.lists(words, max_size=3).map(tuple),
)
styles = st.builds(StyleImage, path=paths, weight=shares, digest=words)
looks = st.builds(
    Look,
    styles=st.lists(styles, min_size=1, max_size=3).map(tuple),
    strength=shares,
    brush=shares,
    keep_color=st.booleans(),
    quality=st.sampled_from(Quality),
    size=st.none() | numbers,
    seed=numbers,
)
fits = st.builds(FitSpec, id=words, clip=clips, look=looks, output=paths, device=words, precision=words)
chunks = st.builds(
    ChunkSpec,
    id=words,
    clip=clips,
    frames=numbers.map(lambda n: FrameRange(n, n + 1 + n % 7)),
    look=looks,
    checkpoint=paths,
    output=paths,
    target=paths,
    size=st.tuples(numbers, numbers),
    encoding=st.builds(Encoding, codec=words, crf=st.none() | numbers),
    device=words,
    precision=words,
)
lines = st.builds(
    Line,
    kind=st.sampled_from(["progress", "note", "finished", "failed"]),
    id=words,
    done=numbers,
    fps=st.floats(0, 1e6),
    text=words,
    digest=words,
    retryable=st.booleans(),
)


@given(fits | chunks)
def test_a_spec_comes_back_as_it_was(spec: Spec) -> None:
    assert loads(dumps(spec)) == spec


@given(lines)
def test_a_line_comes_back_as_it_was(line: Line) -> None:
    assert hear(say(line)) == line
    assert "\n" not in say(line)


@given(st.text() | st.recursive(st.none() | st.booleans() | numbers | words, st.lists).map(json.dumps))
def test_what_is_not_ours_is_not_heard(text: str) -> None:
    assert hear(text) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "finished", "id": 5}',
        '{"kind": "finished", "id": "a", "frames": "many"}',
        '{"kind": "finished", "id": "a", "frames": true}',
        '{"kind": "failed", "id": "a", "retryable": 1}',
        '{"kind": "reboot", "id": "a"}',
        '{"kind": "note", "id": "a", "text": "' + "x" * MAX_LINE + '"}',
        '{"kind": ' * 3000,
    ],
)
def test_a_line_that_lies_about_its_form_is_not_heard(text: str) -> None:
    assert hear(text) is None


def test_another_version_says_so() -> None:
    with pytest.raises(InputError, match=f"version {VERSION + 1}, this worker version {VERSION}"):
        loads(json.dumps({"version": VERSION + 1, "kind": "fit", "spec": {}}))


@given(fits | chunks, st.data())
def test_a_spec_with_a_part_missing_or_wrong_is_refused(spec: Spec, data: st.DataObject) -> None:
    raw = json.loads(dumps(spec))
    name = data.draw(st.sampled_from(sorted(raw["spec"])))
    if data.draw(st.booleans()):
        del raw["spec"][name]
    else:
        raw["spec"][name] = [[]]
    with pytest.raises(InputError):
        loads(json.dumps(raw))


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "{}", '{"version": 1}', '{"version": 1, "kind": "cut", "spec": {}}', "[" * 100_000]
)
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        loads(text)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="'crt'"):
        unpack(Encoding, {**pack(Encoding()), "crt": 1})


def test_a_rate_with_no_denominator_is_refused() -> None:
    with pytest.raises(ZeroDivisionError):
        unpack(Fraction, "1/0")
