"""Runs every fenced block of README.md, of the pages below docs/ and of those beside what they are about, and checks the book's tables against the code.

    tests/docs                      all pages
    tests/docs docs/your-platform.md   these alone

A page is one scenario: its blocks run in their order in one directory, with ports and servers of its own (`world.py`).
How a block is marked that cannot run stands in `blocks.py`, and what each kind means in `kinds.py`.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import links
import openapi
import settings
from blocks import blocks
from kinds import check
from world import IN_A_CLONE, ROOT, World


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/docs")
    parser.add_argument("--lockgate", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--tools", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("pages", nargs="*", help="pages or other parts: settings, openapi, links (default: everything)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wrong, ran, left = [], 0, []
    for page in pages(options.pages):
        counted, problems, skipped = run(page, options)
        wrong, ran, left = wrong + problems, ran + counted, left + skipped
        for problem in problems:
            print(f"tests/docs: FAILED {problem}", flush=True)
    for name, part in (("settings", settings), ("links", links), ("openapi", openapi)):
        if not options.pages or name in options.pages:
            problems = part.problems(options)
            wrong += problems
            for problem in problems:
                print(f"tests/docs: FAILED {name}: {problem}", flush=True)
    print(f"tests/docs: {ran} blocks ran, {len(left)} cannot run here:")
    for reason in left:
        print(f"  {reason}")
    if wrong:
        print(f"tests/docs: {len(wrong)} FAILED")
    return 1 if wrong else 0


def pages(named: list[str]) -> list[Path]:
    book = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))
    every = [Path("README.md"), Path("CONTRIBUTING.md"), *IN_A_CLONE, *book]
    elsewhere = [Path(name) for name in named if name.startswith("/")]  # by its whole path, a page may lie anywhere
    return elsewhere + [page for page in every if (ROOT / page).exists() and (not named or str(page) in named)]


def run(page: Path, options: argparse.Namespace) -> tuple[int, list[str], list[str]]:
    """How many blocks ran, what is wrong, and what was left with its reason."""
    text = (ROOT / page).read_text()
    found = blocks(page, text)
    todo = [block for block in found if "not run" not in block.said]
    left = [f"{block.place}: {block.said['not run']}" for block in found if "not run" in block.said]
    problems = [f"{place}: `not run` needs its reason" for place in left if place.endswith(": ")]
    if not todo:
        return 0, problems, left
    directory = Path(tempfile.mkdtemp(prefix="lockgate-book-"))
    world = World(directory, options.lockgate.resolve(), options.tools.resolve())
    if page in IN_A_CLONE:
        world.begin_in(ROOT)
    print(f"tests/docs: {page}", flush=True)
    try:
        if any(block.kind == "sh" for block in todo):
            world.want_storages(text)
        typed = 0
        for block in todo:
            typed += len(block.text.replace("\\\n", "").splitlines()) if block.kind == "sh" else 0
            if block.kind == "commands":
                problems += [] if typed == int(block.text) else [f"{block.place}: {typed} commands, and not {block.text}"]
                continue
            # What comes after a block that failed stands on it.
            if problem := check(block, world):
                problems.append(f"{block.place}: {problem}")
                if block.kind in ("sh", "python", "ts", "browser"):
                    break
    finally:
        world.end()
        shutil.rmtree(directory, ignore_errors=True)
    return len(todo), problems, left


if __name__ == "__main__":
    sys.exit(main())
