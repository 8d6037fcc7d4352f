"""The figures as Markdown."""

from __future__ import annotations

from typing import Any

TITLES = {
    "canned": "empty grpc.aio server, canned answer",
    "embedded": "conveyor serve",
    "capture": "conveyor serve, capture on",
    "keras_app": "FastAPI app that calls the Keras model",
}


def figures(results: dict[str, Any]) -> str:
    """Returns all tables."""
    lines = [", ".join(f"{name} {value}" for name, value in results["machine"].items())]
    if "load" in results:
        lines += ["", *load_table(results["load"]["rows"]), "", *ratio_table(results["load"]["rows"])]
    for name, title in (("swaps", "Hot swaps"), ("soak", "Soak")):
        if name in results:
            lines += ["", f"{title}:", ""]
            lines += [f"- {key}: {value}" for key, value in results[name].items()]
    return "\n".join(lines)


def load_table(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the table of all that was asked."""
    lines = ["| server | API | batch | clients | QPS | p50 ms | p99 ms | server CPU µs a request |", "|---" * 8 + "|"]
    order = list(TITLES)
    for row in sorted(rows, key=lambda row: (row["api"], row["batch"], row["clients"], order.index(row["server"]))):
        shown = (TITLES[row["server"]], row["api"], row["batch"], row["clients"], f"{row['qps']:,.0f}")
        lines.append("| " + " | ".join(map(str, (*shown, row["p50_ms"], row["p99_ms"], row["server_cpu_us"]))) + " |")
    return lines


def ratio_table(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the table of the targets."""
    found = {(row["server"], row["api"], row["batch"], row["clients"]): row["qps"] for row in rows}

    def ratio(one: tuple[str, str, int, int], other: tuple[str, str, int, int]) -> str:
        return f"{found[one] / found[other]:.2f}"

    ours = ("embedded", "grpc", 1, 16)
    lines = ["| what | ratio of QPS | target |", "|---|---|---|"]
    to_canned, to_app = ratio(ours, ("canned", "grpc", 1, 16)), ratio(ours, ("keras_app", "rest", 1, 16))
    lines.append(f"| gRPC, batch 1, 16 clients, to the empty server | {to_canned} | >= 0.6 |")
    lines.append(f"| the same, to the FastAPI app | {to_app} | >= 5 |")
    for api in ("grpc", "rest"):
        for batch in (1, 32):
            kept = ratio(("capture", api, batch, 16), ("embedded", api, batch, 16))
            lines.append(f"| capture on to off, {api}, batch {batch}, 16 clients | {kept} | >= 0.9 |")
    return lines
