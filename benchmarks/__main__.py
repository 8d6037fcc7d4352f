"""`python -m benchmarks`: measures the scenarios and prints a table with the machine, the versions and the medians."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmarks import scenarios

TARGETS = {"cold": 1.0, "again": 0.2, "new_span": 0.6}


def machine() -> dict[str, Any]:
    """Returns what the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("tfx", "tensorflow", "keras", "apache-beam")},
    }


def report(results: dict[str, Any]) -> str:
    """Returns the results as Markdown."""
    lines = [", ".join(f"{name} {value}" for name, value in results["machine"].items()), ""]
    if "taxi" in results:
        taxi = results["taxi"]
        medians = taxi["median"]
        lines += ["| what | seconds, each round | median | ratio | target |", "|---|---|---|---|---|"]
        rows = (
            ("TFX's taxi_pipeline_native_keras", "native", None),
            ("conveyor run taxi, cold", "cold", medians["native"]),
            ("the same again, nothing changed", "again", medians["cold"]),
            ("one new span of 16", "new_span", medians["cold"]),
        )
        for title, name, base in rows:
            ratio = f"{medians[name] / base:.2f}" if base else ""
            each = ", ".join(f"{seconds:.1f}" for seconds in taxi["seconds"][name])
            target = f"<= {TARGETS[name]}" if name in TARGETS else ""
            lines.append(f"| {title} | {each} | {medians[name]:.1f} | {ratio} | {target} |")
        lines += ["", f"AUC of taxi: {taxi['auc']:.4f} (target 0.95)"]
    if "census" in results:
        lines += ["", f"AUC of census: {results['census']['auc']:.4f} (target 0.915)"]
    if "large" in results:
        lines += ["", "| rows | seconds | microseconds a row | peak MiB | components |", "|---|---|---|---|---|"]
        for count, row in results["large"].items():
            parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in row["components"].items())
            figures = f"{row['seconds']:.1f} | {row['microseconds_a_row']} | {row['peak_mib']}"
            lines.append(f"| {int(count):,} | {figures} | {parts} |")
    if "scaling" in results:
        lines += scaling_table(results["scaling"], results["machine"]["cores"])
    return "\n".join(lines)


def scaling_table(results: dict[str, Any], cores: int) -> list[str]:
    """Returns rows a second and core of each component, a column a size."""
    counts = sorted(results, key=int)
    names = list(dict.fromkeys(name for count in counts for name in results[count]["components"]))
    head = ["rows", *(f"{int(count):,}" for count in counts)]
    lines = ["", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    whole = [f"{results[c]['seconds']} s, {results[c]['peak_mib']} MiB" for c in counts]
    lines.append(f"| the run, and its largest process | {' | '.join(whole)} |")
    for name in names:
        cells = []
        for count in counts:
            seconds = results[count]["components"].get(name)
            cells.append(f"{seconds:.1f} s: {int(count) / seconds / cores:,.0f}" if seconds else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds of the taxi scenarios")
    parser.add_argument("--census", type=Path, help="census.csv; without it that line is left out")
    parser.add_argument("--rows", type=int, nargs="*", default=[150_000, 1_500_000], help="sizes of the large tables")
    parser.add_argument("--scaling-rows", type=int, nargs="*", default=[10**5, 10**6, 10**7], help="sizes for scaling")
    parser.add_argument("--whole-up-to", type=int, default=10**6, help="above, scaling goes as far as Transform")
    parser.add_argument("--only", choices=["taxi", "census", "large", "scaling"], action="append")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    wanted = args.only or ["taxi", "census", "large"]

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    results: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if "taxi" in wanted:
            results["taxi"] = scenarios.against_native(folder / "taxi", args.rounds, say)
        if "census" in wanted and args.census:
            results["census"] = scenarios.census(folder / "census", args.census, say)
        if "large" in wanted and args.rows:
            results["large"] = scenarios.large(folder / "large", args.rows, say)
        if "scaling" in wanted:
            results["scaling"] = scenarios.scaling(folder / "scaling", args.scaling_rows, args.whole_up_to, say)
    print(report(results))
    if args.output:
        args.output.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
