"""Join the chunks of a job into its output, with everything else that the source carries, and publish it whole.

The painted packets are copied, never encoded again; sound, subtitles, chapters, attachments and metadata are copied
from the source. What the container cannot hold is named in the result. The output is written beside its final name,
read back and compared, made durable, and only then renamed.
"""

from __future__ import annotations

import heapq
import itertools
import re
import shutil
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.rational import AVRational
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from stylizer import encode, pictures, sequence, source
from stylizer.errors import OutputError
from stylizer.files import settle
from stylizer.jobs import Clip, Encoding, MediaKind

Progress = Callable[[int, int], None]
"""Called with packets (or pictures) done and their total."""
STALE = ("encoder", "rotate", "vendor_id", "handler_vendor")
"""Metadata of the source's video track that do not describe the painting."""
CONTAINER_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder")
"""Metadata that describe the file and not the work; every muxer writes its own."""


@dataclass(frozen=True, slots=True)
class AssembleResult:
    output: Path
    frames: int
    notes: tuple[str, ...] = ()
    """What of the source is not in the output, a sentence each."""


def assemble(
    clip: Clip,
    chunks: Sequence[Path],
    output: Path,
    encoding: Encoding,
    expected_frames: int | None = None,
    *,
    progress: Progress | None = None,
) -> AssembleResult:
    """Publish the chunks, in order, as `output`.

    `expected_frames` is how many frames the chunks say they have; None is the clip's own number. OutputError if they
    have another, if they do not fit together, or if the output cannot be written; nothing half-written is then left.
    InputError if the source is no longer there or has changed.
    """
    if not chunks:
        raise ValueError("no chunks to assemble")
    encode.check_encoding(output if clip.kind is MediaKind.VIDEO else Path(), encoding)
    expected = clip.frames if expected_frames is None else expected_frames
    part = output.with_name(output.name + ".part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        sequence.remove(part)
        if clip.kind is MediaKind.SEQUENCE:
            sequence.publish(clip, chunks, output, part, expected, progress=progress)
            return AssembleResult(output, expected)
        if clip.kind is MediaKind.STILL:
            shutil.copyfile(chunks[0], part)
            with pictures.opened(part, source.within(clip)):
                settle(part, output)
            return AssembleResult(output, 1)
        join = _Join(clip, chunks, output, progress)
        try:
            join.write(part)
            join.verify(part, expected)
        except source.BROKEN as error:
            raise _unwritable(output, getattr(error, "strerror", None) or str(error)) from error
        settle(part, output)
        return AssembleResult(output, len(join.times), tuple(join.notes))
    except OSError as error:
        raise _unwritable(output, error.strerror or str(error)) from error
    finally:
        sequence.remove(part)


def _unwritable(output: Path, reason: str) -> OutputError:
    return OutputError(
        f"{output} could not be written: {reason}.",
        hint="The painted chunks are kept: mend that and run the same command again.",
    )


class _Join:
    """One assembly of a video: first write, then verify."""

    def __init__(self, clip: Clip, chunks: Sequence[Path], output: Path, progress: Progress | None) -> None:
        source.check_unchanged(clip)
        self.clip = clip
        self.chunks = chunks
        self.output = output
        self.muxer = encode.CONTAINERS[output.suffix.lower()][0]
        self.progress = progress
        self.picture = source.picture(clip.path, clip.fingerprint, source.within(clip))
        self.plan = source.plan(clip.path, clip.fingerprint, source.within(clip))
        self.notes: list[str] = []
        self.times: array[int] = array("q")
        """Presentation times as written, in `base`."""
        self.base = self.picture.time_base
        self.copied: dict[int, int] = {}
        """Packets copied for each track of the output."""
        self.shift = Fraction(0)
        """Seconds taken off every timestamp: streams with a running clock begin anywhere."""

    def write(self, part: Path) -> None:
        with ExitStack() as stack:
            original = stack.enter_context(source.open_source(self.clip.path, source.within(self.clip)))
            first = stack.enter_context(av.open(f"file:{self.chunks[0]}"))
            painted = source.video_stream(original, self.clip.path)
            if original.format.name in ("mpegts", "mpeg", "wtv"):
                starts = [s.start_time * s.time_base for s in original.streams if s.start_time is not None and s.time_base]
                self.shift = min(starts, default=Fraction(0))
            out = stack.enter_context(
                av.open(
                    f"file:{part}",
                    "w",
                    format=self.muxer,
                    container_options=self._options(original),
                    metadata_errors="ignore",
                )
            )
            video, tracks = self._tracks(out, original, painted, first.streams.video[0])
            out.metadata.update({k: v for k, v in original.metadata.items() if k not in CONTAINER_TAGS})
            out.set_chapters(original.chapters())
            out.start_encoding()
            last_time: dict[int, int] = {}
            merged = heapq.merge(self._painted(video, first), self._others(original, tracks), key=_when)
            for packet in merged:
                self._mux(out, packet, last_time)
            out.close()

    def _options(self, original: InputContainer) -> dict[str, str]:
        if self.muxer not in ("mp4", "mov"):
            return {}
        flags = "+faststart"
        if any(not _ITUNES.fullmatch(key) for key in original.metadata if key not in CONTAINER_TAGS):
            flags += "+use_metadata_tags"
        rates = [s.sample_rate for s in original.streams.audio if s.sample_rate]
        return encode.exact_times(self.base, rates) | {"movflags": flags}

    def _tracks(
        self, out: OutputContainer, original: InputContainer, painted: VideoStream, template: VideoStream
    ) -> tuple[VideoStream, dict[int, Stream]]:
        """Create the tracks of the output in the source's order; which track of the source goes where."""
        tracks: dict[int, Stream] = {}
        video: VideoStream | None = None
        for stream in original.streams:
            if stream.index == painted.index:
                video = self._video_track(out, painted, template)
            elif stream.type == "video" and not stream.disposition & Disposition.attached_pic:
                self.notes.append(f"Track {stream.index} is another video; it is not in the output.")
            elif _made_again(stream, original):
                continue
            elif not source.holds(self.muxer, stream):
                name = stream.codec_context.name if stream.codec_context else getattr(stream, "name", None)
                kind = {"audio": "sound", "subtitle": "subtitles"}.get(stream.type, stream.type)
                what = f"Track {stream.index} ({kind}, {name or 'unknown'})"
                self.notes.append(f"{what} cannot be held by {self.output.suffix}; it is left out.")
            else:
                copy = out.add_stream_from_template(stream, opaque=True)
                copy.metadata.update(stream.metadata)
                copy.disposition = stream.disposition
                tracks[stream.index] = copy
        assert video is not None
        return video, tracks

    def _video_track(self, out: OutputContainer, painted: VideoStream, template: VideoStream) -> VideoStream:
        video = out.add_stream_from_template(template, opaque=True)
        assert isinstance(video, VideoStream)
        context = video.codec_context
        written = template.codec_context
        context.color_primaries, context.color_trc = self.picture.primaries, self.picture.transfer
        context.colorspace = written.colorspace if written.colorspace != 2 else self.picture.matrix
        context.color_range = written.color_range or self.picture.color_range
        context.framerate = encode.frame_rate(self.clip)
        if self.picture.aspect:
            context.sample_aspect_ratio = self.picture.aspect
        if self.muxer in ("mp4", "mov"):
            context.codec_tag = {"hevc": "hvc1", "prores": written.codec_tag}.get(written.name, "\0\0\0\0")
        video.time_base = Fraction(1, self.base.denominator) if self.muxer in ("mp4", "mov") else self.base
        video.metadata.update({k: v for k, v in painted.metadata.items() if k.lower() not in STALE and not _statistic(k)})
        video.disposition = painted.disposition
        self.copied[video.index] = 0
        return video

    def _painted(self, video: VideoStream, first: InputContainer) -> Iterator[Packet[Stream]]:
        """The packets of all chunks, each with the duration until the next: chunks keep none."""
        waiting: Packet[Any] | None = None
        for packet in itertools.chain.from_iterable(self._chunk(n, path, first) for n, path in enumerate(self.chunks)):
            time = _exact(packet.pts, packet.time_base, self.base)
            if self.times and time <= self.times[-1]:
                raise OutputError(
                    f"The chunks of {self.output.name} overlap in time.", hint="Run the job again from the start."
                )
            self.times.append(time)
            packet.time_base = self.base
            shown = time - round(self.shift / self.base)
            packet.pts = packet.dts = shown
            packet.stream = video
            if waiting is not None:
                waiting.duration = time - self.times[-2]
                yield waiting
            waiting = packet
        if waiting is not None:
            rest = max(self.plan.end, self.plan.times[-1] + 1) - self.times[-1]
            waiting.duration = rest if rest > 0 else 1
            yield waiting

    def _chunk(self, number: int, path: Path, first: InputContainer) -> Iterator[Packet[Any]]:
        with av.open(f"file:{path}") as container:
            one, other = first.streams.video[0].codec_context, container.streams.video[0].codec_context
            same = ("name", "width", "height", "pix_fmt", "extradata")
            if any(getattr(one, what) != getattr(other, what) for what in same):
                raise OutputError(f"Chunk {number} was encoded unlike the first.", hint="Paint that chunk again.")
            fresh = True
            for packet in container.demux(video=0):
                if not packet.size:
                    continue
                if fresh and not packet.is_keyframe:
                    raise OutputError(f"Chunk {number} does not begin with a keyframe.", hint="Paint that chunk again.")
                fresh = False
                yield packet

    def _others(self, original: InputContainer, tracks: dict[int, Stream]) -> Iterator[Packet[Stream]]:
        if not tracks:
            return
        wanted = [original.streams[index] for index in tracks]
        for packet in original.demux(wanted):
            if not packet.size or (packet.dts is None and packet.pts is None):
                continue
            moved = round(self.shift / packet.time_base) if self.shift else 0
            packet.dts = (packet.pts if packet.dts is None else packet.dts) - moved  # type: ignore[operator]
            packet.pts = packet.dts if packet.pts is None else packet.pts - moved
            packet.stream = tracks[packet.stream_index]
            yield packet

    def _mux(self, out: OutputContainer, packet: Packet[Stream], last_time: dict[int, int]) -> None:
        index = packet.stream.index
        base = packet.stream.time_base
        if base:
            packet.rescale_ts(AVRational(base.numerator, base.denominator))
        # Sound of careless recorders has times that stand still or step back; muxers refuse those.
        if index in last_time and packet.dts is not None and packet.dts <= last_time[index]:
            packet.dts = last_time[index] + 1
            packet.pts = max(packet.pts or packet.dts, packet.dts)
        if packet.dts is not None:
            last_time[index] = packet.dts
        self.copied[index] = self.copied.get(index, 0) + 1
        out.mux_one(packet)
        if self.progress and packet.stream.type == "video":
            self.progress(min(self.copied[index], self.clip.frames), self.clip.frames)

    def verify(self, part: Path, expected: int) -> None:
        """Read the output back: OutputError unless it has the frames, at their times, and every copied packet."""
        if len(self.times) != expected:
            raise OutputError(
                f"The chunks of {self.output.name} have {len(self.times)} frames instead of {expected}.",
                hint="Run the job again from the start.",
            )
        counts: dict[int, int] = {}
        exact = self.muxer in ("mp4", "mov")
        with av.open(f"file:{part}", metadata_errors="ignore") as written:
            video = source.video_stream(written, part)
            tick = video.time_base or self.base
            if (video.sample_aspect_ratio or 1) != (self.picture.aspect or 1):
                # PyAV cannot tell the Matroska muxer; it stays only where the codec itself carries it.
                self.notes.append(
                    f"The pixels' aspect ratio of {self.picture.aspect} is lost in {self.output.suffix} with this codec."
                )
            offset: Fraction | None = Fraction(0) - self.shift if exact else None
            for packet in written.demux():
                if not packet.size:
                    continue
                index, number = packet.stream_index, counts.get(packet.stream_index, 0)
                counts[index] = number + 1
                if index != video.index or number >= len(self.times) or packet.pts is None:
                    continue
                off = packet.pts * tick - self.times[number] * self.base
                # Matroska keeps milliseconds, and starts at 0 where sound would begin before that.
                offset = off if offset is None else offset
                if abs(off - offset) > (0 if exact else tick):
                    raise _wrong(self.output, f"frame {number} is {float(off):.6f} s off")
            frames = counts.get(video.index, 0)
        if frames != expected:
            raise _wrong(self.output, f"it has {frames} frames instead of {expected}")
        if any(counts.get(index, 0) != count for index, count in self.copied.items()):
            raise _wrong(self.output, f"its tracks have {counts} packets instead of {self.copied}")


def _wrong(output: Path, what: str) -> OutputError:
    return OutputError(f"{output.name} was written, but is not what it should be: {what}.", hint="Please report this.")


def _when(packet: Packet[Stream]) -> Fraction:
    return (packet.dts or 0) * packet.time_base


def _exact(time: int | None, given: Fraction, wanted: Fraction) -> int:
    scaled = (time or 0) * given / wanted
    if scaled.denominator != 1:
        raise OutputError("A chunk has times that the source has not.", hint="Run the job again from the start.")
    return scaled.numerator


def _statistic(key: str) -> bool:
    """Tags of Matroska that count the bytes and frames of the source's track."""
    return key.upper() in ("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES") or key.upper().startswith("_STATISTICS")


def _made_again(stream: Stream, original: InputContainer) -> bool:
    """Tracks that the muxer itself writes from chapters and timecodes."""
    name = getattr(stream, "name", None)
    chapter_titles = stream.type in ("data", "subtitle") and name in ("bin_data", "text") and bool(original.chapters())
    return chapter_titles or (stream.type == "data" and "timecode" in stream.metadata)


_ITUNES = re.compile(
    "title|artist|album|album_artist|composer|date|comment|genre|copyright|grouping|lyrics|description|synopsis|show|"
    "episode_id|network|keywords|episode_sort|season_number|media_type|hd_video|gapless_playback|compilation|track|disc|"
    "creation_time|location"
)
"""What mp4 and mov have a place for; other keys need the extended kind of metadata."""
