"""Plots as SVG, by hand: no library, no script, no font of their own. The white ground is for pages in dark colours."""

import math
from html import escape

COLOURS = ["#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"]
FONT = 'font-family="Helvetica, Arial, sans-serif"'
WIDTH = 900


def text(x, y, words, size=13, anchor="start", colour="#222", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}">{escape(str(words))}</text>')


def line(x1, y1, x2, y2, colour="#ddd", width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def picture(height, title, parts):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" {FONT}>'
            f'<title>{escape(title)}</title><rect width="{WIDTH}" height="{height}" fill="#fff"/>')
    return "\n".join([head, text(16, 26, title, 16, weight="bold"), *parts, "</svg>"]) + "\n"


def decades(values):
    """The powers of ten around the values."""
    low, high = math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9)
    return list(range(low, max(high, low + 1) + 1))


def spread(places, gap):
    """The places in their order, moved so that two are at least `gap` apart."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    for before, index in zip(order, order[1:]):
        moved[index] = max(moved[index], moved[before] + gap)
    if order:
        # What was pushed down as one goes half of the way back.
        shift = sum(new - old for new, old in zip(moved, places)) / len(places)
        moved = [place - shift for place in moved]
    return moved


def lines(title, x_title, series, y_text, height=460):
    """Lines over two logarithmic axes. `series`: (name, [(x, y), …]) each; the first is drawn thicker. `y_text` words a y."""
    left, right, top, bottom = 80, WIDTH - 250, 48, height - 52
    xs = decades([x for _, points in series for x, _ in points])
    ys = decades([y for _, points in series for _, y in points])

    def across(x):
        return left + (math.log10(x) - xs[0]) / (xs[-1] - xs[0]) * (right - left)

    def down(y):
        return bottom - (math.log10(y) - ys[0]) / (ys[-1] - ys[0]) * (bottom - top)

    parts = []
    for power in ys:
        parts += [line(left, down(10.0**power), right, down(10.0**power)),
                  text(left - 8, down(10.0**power) + 4, y_text(10.0**power), anchor="end")]
    for power in xs:
        x = across(10.0**power)
        parts += [line(x, top, x, bottom), text(x, bottom + 20, f"{10**power:,}", anchor="middle")]
    parts.append(text((left + right) / 2, height - 10, x_title, anchor="middle"))
    labels = spread([down(points[-1][1]) for _, points in series], 16)
    for index, ((name, points), label) in enumerate(zip(series, labels)):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{3 if index == 0 else 1.8}"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="2.8" fill="{colour}"/>' for x, y in points]
        end = points[-1]
        parts += [line(across(end[0]), down(end[1]), right + 12, label, colour, 0.7),
                  text(right + 16, label + 4, name, colour=colour, weight="bold" if index == 0 else "normal")]
    return picture(height, title, parts)


def bars(title, rows, value_text, ours=1, logarithmic=True, note=""):
    """A bar for each of `rows`, (name, value); the first `ours` in colour.

    A logarithmic axis begins a power of ten below the least value.
    """
    left, right, top, step = 290, WIDTH - 110, 48, 30
    bottom = top + step * len(rows)
    height = bottom + (30 if logarithmic else 10) + (22 if note else 0)
    values = [value for _, value in rows]
    low, high = decades(values)[0] - 1, math.log10(max(values))

    def length(value):
        share = (math.log10(value) - low) / (high - low) if logarithmic else value / max(values)
        return share * (right - left)

    parts = []
    if logarithmic:
        for power in range(low, math.floor(high) + 1):
            x = left + length(10.0**power)
            parts += [line(x, top - 6, x, bottom), text(x, bottom + 14, value_text(10.0**power), 11, "middle", "#555")]
    for index, (name, value) in enumerate(rows):
        y = top + step * index
        colour = COLOURS[0] if index < ours else "#8fb3d1"
        parts += [text(left - 10, y + 16, name, anchor="end", weight="bold" if index < ours else "normal"),
                  f'<rect x="{left}" y="{y}" width="{length(value):.1f}" height="{step - 9}" fill="{colour}"/>',
                  text(left + length(value) + 7, y + 16, value_text(value))]
    if note:
        parts.append(text(left, height - 12, note, 12, colour="#555"))
    return picture(height, title, parts)
