"""Lines that are longer than their room."""

from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from stylizer.store import Store
from tests.tui.canned import settle
from tests.tui.test_job import on_job
from tui.app import Studio
from tui.columns import pieces
from tui.widgets.log import Lines


def test_what_is_longer_than_the_room_goes_on_below(tmp_path: Path) -> None:
    end = "and so it ends where one can read it"

    async def steps(app: Studio, pilot: Pilot[None], store: Store) -> None:
        lines = app.screen.query_one(Lines)
        job = app.screen.job.id  # type: ignore[attr-defined]
        store.note(job, None, "note", "舞踏 " + "many words " * 12 + end)
        await settle(pilot, lambda: lines._lines[-1][1].endswith(end))
        await settle(pilot, lambda: lines.scroll_offset.y == lines.max_scroll_y)
        seen = [lines.render_line(y).text for y in range(lines.size.height)]
        assert end in " ".join(" ".join(seen).split())
        assert not lines.allow_horizontal_scroll
        await pilot.press("slash", *"so it ends", "enter")
        await settle(pilot, lambda: lines._at == len(lines._lines) - 1)
        assert "so it ends" in " ".join(" ".join(lines.render_line(y).text for y in range(lines.size.height)).split())
        await pilot.resize_terminal(130, 44)
        await settle(pilot, lambda: any(end in lines.render_line(y).text for y in range(lines.size.height)))

    on_job(tmp_path, "salt", steps)


@pytest.mark.parametrize("width", [7, 20, 500])
@pytest.mark.parametrize("text", ["", "one", "a word and 舞踏 more", "x" * 50, "  " * 30, "舞踏" * 9])
def test_pieces_are_all_of_a_text_and_fit(text: str, width: int) -> None:
    found = pieces(text, width)
    assert "".join(text[start:stop] for start, stop in found) == text
    assert all(cell_len(text[start:stop].rstrip()) <= width for start, stop in found)
