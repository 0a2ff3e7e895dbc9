"""The fenced blocks of a page, with what the HTML comments right before them say.

<!-- file: NAME -->        the block is the content of this file; later blocks find it
<!-- part of: NAME -->     the same, completed by what a configuration cannot do without
<!-- within: storage s3 --> keys without a section: those of a [[storage]] of this kind
<!-- not run: REASON -->   the block cannot run here, and why
<!-- browser: URL shows img video --> no block: the page at this URL is opened in a browser, and these must be seen in it
<!-- commands: 9 -->       no block either: what the page has somebody type before this line is so many commands
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

COMMENT = re.compile(r"^\s*<!--\s*(file|part of|within|not run|browser|commands):\s*(.*?)\s*-->\s*$")
FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*([A-Za-z0-9_+-]*)\s*$")


@dataclass
class Block:
    """One of them; `kind` is `browser` or `commands` for the comments that are none."""

    page: Path
    line: int
    kind: str
    text: str
    said: dict = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path, text: str) -> list[Block]:
    """In their order."""
    found, said, open_block, closing = [], {}, None, ""
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if open_block is not None:
            if fence and line.strip().startswith(closing) and not fence[3]:
                found.append(open_block)
                open_block = None
            else:
                open_block.text += line + "\n"
        elif fence:
            open_block, closing = Block(page, number, fence[3], "", said), fence[2]
            said = {}
        elif comment := COMMENT.match(line):
            if comment[1] in ("browser", "commands"):
                found.append(Block(page, number, comment[1], comment[2]))
            else:
                said[comment[1]] = comment[2]
        elif line.strip():
            said = {}
    if open_block is not None:
        raise ValueError(f"{open_block.place}: the block does not end")
    return found
