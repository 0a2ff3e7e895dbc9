"""Starts every server, puts the same loads on them in turn, and writes a table and a chart. See `run`."""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import chart
import servers as stands
import table
import work
from processes import Failed, Servers


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.monotonic()
    options.output.mkdir(parents=True, exist_ok=True)
    length = work.QUICK if options.quick else work.whole(options.rounds)
    with tempfile.TemporaryDirectory(prefix="peers-", dir=options.data) as made:
        running = Servers(Path(made))
        try:
            stand = stands.start(options, Path(made), running, length)
            measured = work.measure(stand, length, options.only, say)
        except Failed as failed:
            print(f"benches/peers/run: {failed}", file=sys.stderr)
            return 1
        finally:
            running.stop()
    about = table.about(options, length, stand, time.monotonic() - begun)
    (options.output / "peers.json").write_text(json.dumps({"about": about, "rounds": measured}, indent=1) + "\n")
    (options.output / "peers.md").write_text(table.markdown(measured, about))
    (options.output / "peers.svg").write_text(chart.svg(measured, about))
    print(table.markdown(measured, about))
    say(f"{time.monotonic() - begun:.0f} s; peers.md, peers.svg and peers.json are in {options.output}")
    return 1 if stand.failures else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/peers/run")
    parser.add_argument("--quick", action="store_true", help="seconds: shows that it works, measures nothing")
    parser.add_argument("--rounds", type=int, default=5, help="how many (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="WORK", choices=work.WORKS, default=[*work.WORKS],
                        help=f"of {', '.join(work.WORKS)}")
    parser.add_argument("--output", type=Path, required=True, help="where table and chart go (default: target/peers)")
    parser.add_argument("--data", type=Path, default=None, help="a directory for 2 to 6 GB while it runs (default: TMPDIR)")
    for hidden in ("--lockgate", "--programs"):
        parser.add_argument(hidden, type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def say(what: str) -> None:
    print(f"benches/peers/run: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
