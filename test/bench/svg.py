# SPDX-License-Identifier: ISC
"""Curves as SVG, with logarithmic axes."""

import html
import math

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 50
COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8d6a9f", "#b8860b", "#555555")


def _short(number):
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if number >= size:
            return f"{number / size:g} {unit}"
    return f"{number:g}"


class Axis:
    """Maps values to positions; powers of ten are marked."""

    def __init__(self, values, start, end):
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self.start, self.end = start, end

    def place(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def marks(self):
        return [10.0 ** n for n in range(self.low, self.high + 1)]


def _line(x1, y1, x2, y2, colour="#dddddd"):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x, y, text, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(text)}</text>'


def _curve(name, points, x, y, colour):
    places = [(x.place(a), y.place(b)) for a, b in points]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in places)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}'


def _names(series, y):
    """Labels at the ends of the curves, moved apart where they would overlap."""
    out, last = [], None
    order = sorted(enumerate(series), key=lambda s: -s[1][1][-1][1])
    for i, (name, points) in order:
        at = y.place(points[-1][1]) + 4
        if last is not None and at < last + 14:
            at = last + 14
        last = at
        out.append(_text(WIDTH - RIGHT + 8, at, name, "start", f' fill="{COLOURS[i % len(COLOURS)]}"'))
    return out


def chart(title, across, up, series):
    """The text of an SVG file; series is a list of (name, [(x, y), ...])."""
    x = Axis([a for _, points in series for a, _ in points], LEFT, WIDTH - RIGHT)
    y = Axis([b for _, points in series for _, b in points], HEIGHT - BOTTOM, TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="11" fill="#333333">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
           _text(LEFT, 22, title, "start", ' font-size="14"')]
    for value in x.marks():
        out += [_line(x.place(value), TOP, x.place(value), HEIGHT - BOTTOM),
                _text(x.place(value), HEIGHT - BOTTOM + 16, _short(value))]
    for value in y.marks():
        out += [_line(LEFT, y.place(value), WIDTH - RIGHT, y.place(value)),
                _text(LEFT - 6, y.place(value) + 4, _short(value), "end")]
    out += [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, across),
            _text(0, 0, up, more=f' transform="translate(16 {HEIGHT / 2}) rotate(-90)"')]
    for i, (name, points) in enumerate(series):
        out.append(_curve(name, points, x, y, COLOURS[i % len(COLOURS)]))
    return "\n".join([*out, *_names(series, y), "</svg>\n"])
