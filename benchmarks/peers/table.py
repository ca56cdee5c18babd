"""Medians of the rounds -> one Markdown table with ratios, and the targets with pass or MISS."""

from typing import Final

from benchmarks.soak.figures import Figure

INT8: Final = "ours, INT8"
FLOAT32: Final = "ours, float32"
RIVALS: Final = ("BentoML", "LitServe", "Ray Serve")
MEMORY: Final = "memory, MiB"
READY: Final = "first answer after, s"

Figures = dict[str, float]
"""Name of a figure -> its value, of one server in one round or as median over the rounds."""


def rate_at(clients: int) -> str:
    """Name the figure of requests a second with so many clients."""
    return f"req/s, {_count(clients)}"


def time_at(clients: int, share: str) -> str:
    """Name the figure of a percentile of the answers' times."""
    return f"{share} ms, {_count(clients)}"


def cpu_at(clients: int) -> str:
    """Name the figure of CPU time, user and system."""
    return f"CPU ms per request, {_count(clients)}"


def markdown(medians: dict[str, Figures]) -> str:
    """Write a row for each figure; in brackets ours divided by theirs, INT8 and then float32."""
    rows = [["", *medians], ["---", *["---:"] * len(medians)]]
    for name in medians[INT8]:
        cells = [_cell(medians, server, name) for server in medians]
        rows.append([name, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def targets(medians: dict[str, Figures]) -> list[Figure]:
    """Compare INT8 with the best of the three rivals, in each respect by itself."""
    rate, ours = rate_at(16), medians[INT8]
    best_rate = max(medians[rival][rate] for rival in RIVALS)
    least_memory = min(medians[rival][MEMORY] for rival in RIVALS)
    return [
        Figure("req/s with 16 clients / best of the three", ours[rate] / best_rate, least=3.5),
        Figure("memory / least of the three", ours[MEMORY] / least_memory, most=1 / 3),
        Figure(READY, ours[READY], most=3),
    ]


def _cell(medians: dict[str, Figures], server: str, name: str) -> str:
    theirs = medians[server][name]
    if server in (INT8, FLOAT32):
        return _number(theirs)
    ratios = ", ".join(f"{medians[ours][name] / theirs:.2f}" for ours in (INT8, FLOAT32))
    return f"{_number(theirs)} ({ratios})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _count(clients: int) -> str:
    return f"{clients} client{'s' * (clients > 1)}"
