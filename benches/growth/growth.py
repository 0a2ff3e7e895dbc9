"""Starts a Lockgate for each point of each row, puts a load on it, and writes tables with slopes. See `run`."""

import argparse
import json
import math
import signal
import sys
import tempfile
import time
from pathlib import Path

import machine
import rows
from processes import Failed, Servers


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.monotonic()
    options.output.mkdir(parents=True, exist_ok=True)
    measured, failed_rows = {}, []
    with tempfile.TemporaryDirectory(prefix="growth-") as made:
        running = Servers(Path(made))
        try:
            bench = rows.Bench(options, Path(made), running)
            for name in options.only:
                started = time.monotonic()
                try:
                    measured[name] = measure(bench, name)
                except rows.Missing as missing:
                    say(f"{name}: left out, for {missing}")
                except Failed as failed:
                    # The other rows are worth having; the command says that it failed all the same.
                    say(f"{name}: {failed}")
                    failed_rows.append(name)
                say(f"{name}: {time.monotonic() - started:.0f} s")
        except Failed as failed:
            say(str(failed))
            return 1
        finally:
            running.stop()
    text = markdown(measured, options, time.monotonic() - begun)
    (options.output / "growth.json").write_text(json.dumps(measured, indent=1) + "\n")
    (options.output / "growth.md").write_text(text)
    print(text)
    say(f"{time.monotonic() - begun:.0f} s; growth.md and growth.json are in {options.output}")
    return 1 if failed_rows else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/growth/run")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="seconds: shows that it works, measures nothing")
    length.add_argument("--full", action="store_true", help="up to ten million objects")
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=rows.ROWS, default=[*rows.ROWS],
                        help=f"of {', '.join(rows.ROWS)}")
    parser.add_argument("--output", type=Path, required=True, help="where the tables go (default: target/growth)")
    for hidden in ("--lockgate", "--programs"):
        parser.add_argument(hidden, type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(bench: rows.Bench, name: str) -> dict:
    row = rows.ROWS[name]
    points = []
    for size in row.points[bench.length]:
        say(f"{name}: {row.told(size)}")
        try:
            points.append({"at": size, "told": row.told(size), "values": row.run(bench, size)})
        except rows.Missing as missing:
            if not points:
                raise
            say(f"{name}: ends here, for {missing}")
            break
    return {"against": row.against, "one": row.one, "points": points}


def markdown(measured: dict, options, seconds: float) -> str:
    parts = ["# What grows with what\n\nWritten by `benches/growth/run`.\n"]
    for row in measured.values():
        points = row["points"]
        lines = [f"| {row['against']} | {' | '.join(point['told'] for point in points)} | slope |",
                 "|---" * (len(points) + 2) + "|"]
        for name in points[0]["values"]:
            values = [point["values"][name] for point in points]
            cells = [machine.number(value) for value in values]
            lines.append(f"| {name} | {' | '.join(cells)} | {slope(name, row['one'], [point['at'] for point in points], values)} |")
        parts.append("\n".join(lines) + "\n")
    flags = "".join(f" --{flag}" for flag in ("quick", "full") if getattr(options, flag))
    only = f" --only {' '.join(options.only)}" if len(options.only) < len(rows.ROWS) else ""
    command = f"benches/growth/run{flags}{only}"
    parts.append("\n".join(f"- {line}" for line in [
        "CPU (µs, s/GB) is user and system time of the server; a token and the access list are checked on every request."
        " Slope: of CPU the exponent (1: it doubles where the other doubles; 0: it does not grow), of memory what one more"
        " costs between the first point and the last.",
        "Memory is heap, stacks and the cache (`RssAnon`). TCP's is the whole machine's, so what else goes on there shows.",
        *machine.lines(options.lockgate, command, seconds),
    ]) + "\n")
    return "\n".join(parts)


def slope(name: str, one: str, sizes: list[float], values: list[float]) -> str:
    if name.endswith("MB"):
        return f"{machine.number((values[-1] - values[0]) * 1e6 / (sizes[-1] - sizes[0]))} B {one}"
    if min(values) <= 0 or len(values) < 2:
        return "–"
    across, up = [math.log(size) for size in sizes], [math.log(value) for value in values]
    middle, height = sum(across) / len(across), sum(up) / len(up)
    steep = sum((x - middle) * (y - height) for x, y in zip(across, up)) / sum((x - middle) ** 2 for x in across)
    return f"{steep:+.2f}"


def say(what: str) -> None:
    print(f"benches/growth/run: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
