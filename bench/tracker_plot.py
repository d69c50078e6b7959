"""The steps of bench/tracker.py as a drawing: what a file costs, and a search, from ten thousand files to a million."""

from __future__ import annotations

from math import log10
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 320, 60, 40, 44
LINES = (
    ("cpu_us_per_file", "µs of CPU to take in a file", "#2563eb"),
    ("fresh_us_per_file", "the same, meanwhile, at trackers that have none", "#93c5fd"),
    ("search_p50_ms", "ms of a search, p50", "#16a34a"),
    ("search_p99_ms", "ms of a search, p99", "#dc2626"),
)


def draw(steps: list[dict[str, Any]]) -> str:
    """An SVG document. Both axes are logarithmic: flat is flat, and twice as much is as far everywhere."""
    low, high = log10(steps[0]["files"]), log10(max(steps[-1]["files"], steps[0]["files"] + 1))
    values = [step[key] for step in steps for key, _, _ in LINES if step[key] > 0]
    bottom, top = log10(min(values) / 1.5), log10(max(values) * 1.5)

    def place(files: float, value: float) -> tuple[float, float]:
        x = LEFT + (log10(files) - low) / max(high - low, 1e-9) * (WIDTH - LEFT - 20)
        y = HEIGHT - BOTTOM - (log10(value) - bottom) / (top - bottom) * (HEIGHT - BOTTOM - TOP)
        return round(x, 1), round(y, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in (1, 2, 5, 10, 20, 50, 100, 200):
        if bottom <= log10(tick) <= top:
            _, y = place(steps[0]["files"], tick)
            parts.append(f'<path d="M{LEFT} {y}H{WIDTH - 20}" stroke="#ddd"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tick}</text>')
    for step in steps:
        x, _ = place(step["files"], 10**bottom)
        shown = f"{step['files'] / 1000:.0f}k"
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{shown}</text>')
    for number, (key, label, colour) in enumerate(LINES):
        points = [place(step["files"], step[key]) for step in steps if step[key] > 0]
        line = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points]
        x, y = LEFT + 10 + 300 * (number % 2), 16 + 16 * (number // 2)
        parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{label}</text>')
    parts.append(
        f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">files at the tracker</text></svg>'
    )
    return "\n".join(parts) + "\n"
