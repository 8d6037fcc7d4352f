"""`python -m benchmarks.serving`: loads servers, and prints tables with the machine, the versions and the medians."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.__main__ import machine
from benchmarks.serving import report, scenarios


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of the load scenarios")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each measurement takes")
    parser.add_argument("--requests", type=int, default=500_000, help="requests of the soak")
    parser.add_argument("--only", choices=["load", "swaps", "soak"], action="append")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    wanted = args.only or ["load", "swaps", "soak"]

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    versions = {name: metadata.version(name) for name in ("grpcio", "fastapi", "uvicorn")}
    results: dict[str, Any] = {"machine": {**machine(), **versions}}
    with tempfile.TemporaryDirectory() as temporary:
        place = scenarios.prepare((args.folder or Path(temporary)).resolve(), say)
        if "load" in wanted:
            results["load"] = scenarios.against_others(place, args.rounds, args.seconds, say)
        if "swaps" in wanted:
            results["swaps"] = scenarios.swaps(place, say)
        if "soak" in wanted:
            results["soak"] = scenarios.soak(place, args.requests, say)
    print(report.figures(results))
    if args.output:
        args.output.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
