"""A screen's SVG as lines that a person can read and compare: its text, then the styles of each line, then what they are."""

from __future__ import annotations

import re
from collections import defaultdict
from html import unescape

from rich.cells import cell_len

CELL, LINE, BASE = 12.2, 24.4, 20.0
"""Of rich's SVG: width of a cell, height of a line, where the first line stands."""
RULE = re.compile(r"\.terminal-(r\d+) \{ (.*?) \}")
GROUND = re.compile(r'<rect fill="(#\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="24.65"')
TEXT = re.compile(r'<text class="terminal-(r\d+)" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>')


def grid(svg: str) -> str:
    """The same SVG, the same lines; what looks otherwise gives others."""
    rules = {name: rule.replace(";", " ").replace("fill: ", "").strip() for name, rule in RULE.findall(svg)}
    grounds: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for colour, x, y, _ in GROUND.findall(svg):
        grounds[round(float(y) / LINE)].append((round(float(x) / CELL), colour))
    lines: dict[int, str] = defaultdict(str)
    inks: dict[int, list[tuple[int, str]]] = defaultdict(list)
    # The window's title is text too, and the only one of another class.
    for name, x, y, text in TEXT.findall(svg):
        row, column, words = round((float(y) - BASE) / LINE), round(float(x) / CELL), unescape(text).replace("\xa0", " ")
        lines[row] += " " * (column - cell_len(lines[row])) + words
        inks[row].append((column, rules[name]))
    styles: dict[str, str] = {}
    runs = []
    for row in range(max(grounds, default=-1) + 1):
        parts = [f"{at}{styles.setdefault(found, _name(len(styles)))}" for at, found in _runs(inks[row], grounds[row])]
        runs.append(f"{row + 1}: {' '.join(parts)}")
    text = [lines[row].rstrip() for row in range(len(runs))]
    return "\n".join([*text, "", *runs, "", *(f"{name} {found}" for found, name in styles.items()), ""])


def _runs(inks: list[tuple[int, str]], grounds: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Where another style begins, from the left: ink and ground."""
    ink = ground = last = ""
    found = []
    of_ink, of_ground = dict(inks), dict(grounds)
    for at in sorted(of_ink.keys() | of_ground.keys()):
        ink, ground = of_ink.get(at, ink), of_ground.get(at, ground)
        if (now := f"{ink} on {ground}") != last:
            found.append((at, now))
            last = now
    return found


def _name(number: int) -> str:
    """a to z, then aa, ab, …"""
    return (_name(number // 26 - 1) if number >= 26 else "") + chr(97 + number % 26)
