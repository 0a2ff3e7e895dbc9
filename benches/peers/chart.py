"""Some rows as a chart: bars for each server, shorter is better. An SVG that suits a light page and a dark one."""

from html import escape
from statistics import median

from machine import number
from servers import DISK, HYPER, LOCKGATE, LUA, OPEN, PASSED, STATIC

# As many as are read at a glance; the table has all.
ROWS = (
    "W1 warm ranges of 8 MiB", "W2 warm images of 100 KB", "W5 conditional requests, 304", "W1 over TLS 1.3",
    "W2 over TLS 1.3", "W3 cold windows of 8 MiB",
)
ORDER = (LOCKGATE, DISK, LUA, OPEN, STATIC, HYPER, PASSED)
KIND = {LOCKGATE: "own", DISK: "own", LUA: "checked"}
WIDTH, LEFT, BAR, GAP, COLUMN = 960, 226, 15, 4, 480
STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
  .title { font-size: 17px; font-weight: 600; }
  .row { font-size: 13px; font-weight: 600; }
  .name, .note { fill: #59636e; }
  .note { font-size: 11px; }
  .own { fill: #0969da; } .checked { fill: #bc6c00; } .open { fill: #afb8c1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .name, .note { fill: #9198a1; }
    .own { fill: #4493f8; } .checked { fill: #d29922; } .open { fill: #545d68; }
  }
"""


def svg(measured: dict, about: dict) -> str:
    parts = [
        text(16, 28, "Server CPU for the same work: shorter is better", "title"),
        text(16, 48, "Blue: Lockgate, token, access list and task checked on every request. Amber: nginx with token and list"
             " checked in Lua. Grey: no check.", "name"),
    ]
    heights = [72, 72]
    for title in (title for title in ROWS if title in measured):
        side = heights.index(min(heights))
        drawn, height = group(title, measured[title], side * COLUMN, heights[side])
        parts += drawn
        heights[side] += height
    foot = max(heights) + 8
    notes = (f"{about['machine']}; {about['system']}", about["versions"],
             f"{about['date']}; {about['command']}; medians of {about['rounds']} interleaved rounds, client that reads")
    parts += [text(16, foot + 16 * line, note, "note") for line, note in enumerate(notes)]
    height = foot + 16 * len(notes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-label="Server CPU of Lockgate, nginx and hyper for the same work">\n'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def group(title: str, row: dict, x: int, y: int) -> tuple[list[str], int]:
    """A title and its bars, to a scale of their own."""
    values = {column: median(row["values"][column]) for column in ORDER if column in row["values"]}
    longest = COLUMN - LEFT - 80
    parts = [text(x + 16, y + 12, f"{title}, {row['unit']}", "row")]
    top = y + 22
    for column, value in values.items():
        length = max(1, longest * value / max(values.values()))
        parts += [
            text(x + LEFT - 8, top + BAR - 3, column, "name", "end"),
            f'<rect x="{x + LEFT}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2" class="{KIND.get(column, "open")}"/>',
            text(x + LEFT + length + 6, top + BAR - 3, number(value), "value"),
        ]
        top += BAR + GAP
    return parts, top - y + 14


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
