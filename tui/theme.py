"""The colours of the studio, by day and by night, and the mark of each state.

Chrome is paper and ink; colour means a state: blue is painted now, green is done, ochre waits for a person, red has failed.
A state is always told by its mark or its word too, so that sixteen colours, or none, are enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from textual.theme import BUILTIN_THEMES, Theme

from stylizer.jobs import FINISHED, ChunkState, Desired, Job, JobState

NIGHT = Theme(
    "night",
    primary="#84a9e6",
    secondary="#8f9bb0",
    accent="#84a9e6",
    success="#8fb87a",
    warning="#dcab58",
    error="#e0776c",
    foreground="#e4dfd5",
    background="#16161a",
    surface="#1d1d22",
    panel="#2a2a31",
    dark=True,
    variables={
        "border": "#34343c",
        "foreground-muted": "#918d86",
        "foreground-disabled": "#5c5a57",
        "text-muted": "#918d86",
        "footer-background": "#16161a",
        "footer-key-foreground": "#84a9e6",
        "footer-description-foreground": "#918d86",
        "block-cursor-background": "#2a2a31",
        "block-cursor-foreground": "#e4dfd5",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#222228",
        "block-hover-background": "#1d1d22",
        "scrollbar": "#3a3a43",
        "scrollbar-hover": "#4a4a55",
        "scrollbar-active": "#84a9e6",
        "scrollbar-background": "#16161a",
        "scrollbar-background-hover": "#16161a",
        "scrollbar-background-active": "#16161a",
        "scrollbar-corner-color": "#16161a",
    },
)
DAY = Theme(
    "day",
    primary="#2f5fb3",
    secondary="#5d6b82",
    accent="#2f5fb3",
    success="#44742f",
    warning="#96650a",
    error="#b23a30",
    foreground="#2a2723",
    background="#f7f4ed",
    surface="#efeae0",
    panel="#e3dccf",
    dark=False,
    variables={
        "border": "#d3cbbc",
        "foreground-muted": "#756f66",
        "foreground-disabled": "#aca598",
        "text-muted": "#756f66",
        "footer-background": "#f7f4ed",
        "footer-key-foreground": "#2f5fb3",
        "footer-description-foreground": "#756f66",
        "block-cursor-background": "#e3dccf",
        "block-cursor-foreground": "#2a2723",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#ebe5da",
        "block-hover-background": "#efeae0",
        "scrollbar": "#cdc4b4",
        "scrollbar-hover": "#b9ae9b",
        "scrollbar-active": "#2f5fb3",
        "scrollbar-background": "#f7f4ed",
        "scrollbar-background-hover": "#f7f4ed",
        "scrollbar-background-active": "#f7f4ed",
        "scrollbar-corner-color": "#f7f4ed",
    },
)
_ANSI = BUILTIN_THEMES["ansi-dark"]
_QUIET = {"border": "ansi_bright_black", "footer-key-foreground": "ansi_bright_blue"}
PLAIN = replace(
    _ANSI,
    name="terminal",
    primary="ansi_bright_blue",
    accent="ansi_bright_blue",
    variables={**_ANSI.variables, **_QUIET},
)
"""The terminal's own sixteen colours."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How a state looks."""

    glyph: str
    word: str
    tone: str
    """A variable of the theme without its $."""


MUTED = "foreground-muted"
STATES = {
    JobState.QUEUED: Mark("○", "queued", MUTED),
    JobState.FITTING: Mark("◔", "fitting", "primary"),
    JobState.RENDERING: Mark("◑", "rendering", "primary"),
    JobState.ASSEMBLING: Mark("◕", "assembling", "primary"),
    JobState.DONE: Mark("✓", "done", "success"),
    JobState.FAILED: Mark("✕", "failed", "error"),
    JobState.CANCELLED: Mark("⊘", "cancelled", MUTED),
}
PAUSED = Mark("‖", "paused", "warning")
STOPPING = Mark("◌", "stopping", "warning")
CHUNKS = {
    ChunkState.READY: Mark("·", "ready", MUTED),
    ChunkState.SUBMITTED: Mark("▫", "submitted", "secondary"),
    ChunkState.RUNNING: Mark("▪", "rendering", "primary"),
    ChunkState.DONE: Mark("■", "done", "success"),
    ChunkState.FAILED: Mark("x", "failed", "error"),
}


def mark_of(job: Job) -> Mark:
    """The mark of a job: what is wanted of it, where that is not what it does."""
    if job.state not in FINISHED and job.desired is not Desired.RUN:
        return PAUSED if job.desired is Desired.PAUSE else STOPPING
    return STATES[job.state]
