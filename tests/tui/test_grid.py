"""The grid of a screen holds all that its picture does: text, where it stands, ink and ground."""

import asyncio

from textual.app import App, ComposeResult
from textual.content import Content
from textual.widgets import Static

from tests.tui.canned import picture
from tests.tui.grid import grid


class Page(App[None]):
    def __init__(self, *parts: str | tuple[str, str]) -> None:
        super().__init__()
        self._parts = parts

    def compose(self) -> ComposeResult:
        yield Static(Content.assemble(*self._parts))


def drawn(*parts: str | tuple[str, str]) -> str:
    async def run() -> str:
        app = Page(*parts)
        async with app.run_test(size=(24, 3)) as pilot:
            await pilot.pause()
            return grid(picture(app))

    return asyncio.run(run())


def test_text_stands_where_it_stood() -> None:
    assert drawn("a <b> & 舞踏 c\n  [x]").splitlines()[:2] == ["a <b> & 舞踏 c", "  [x]"]


def test_every_difference_is_one() -> None:
    pages = [
        drawn("one two"),
        drawn("one  two"),
        drawn("one ", ("two", "bold")),
        drawn("one ", ("two", "#ff0000")),
        drawn("one ", ("two", "on #ff0000")),
        drawn("one", (" two", "on #ff0000")),
    ]
    assert len(set(pages)) == len(pages)
    assert "#ff0000" in pages[3] and "on #ff0000" in pages[4] and "bold" in pages[2]
