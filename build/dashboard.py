#!/usr/bin/env python3
"""Draws the panels of a Grafana dashboard as SVG, from what a Prometheus says.

    build/dashboard.py PROMETHEUS DASHBOARD OUT [--minutes N] [--rows N]

Each panel has the place, the title, the queries and the legends that it has in
the dashboard; it is a drawing and not a picture of Grafana. --rows takes the
first rows only.
"""

import argparse
import json
import math
import re
import time
import urllib.parse
import urllib.request
from html import escape

COLUMN, ROW, GAP, TOP = 50, 30, 6, 40
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b", "#b2a800", "#000000"]
UNITS = {
    "percentunit": lambda v: f"{v * 100:.3g} %",
    "reqps": lambda v: f"{v:.3g} req/s",
    "ops": lambda v: f"{v:.3g} /s",
    "s": lambda v: f"{v:.3g} s" if v >= 1 else f"{v * 1000:.3g} ms",
    "bytes": lambda v: f"{v / 2**20:.3g} MiB" if v >= 2**20 else f"{v / 2**10:.3g} KiB",
    "short": lambda v: f"{v:.4g}",
}


def ask(prometheus, path, **query):
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def filled_in(expr):
    """What Grafana puts in for its variables, with All chosen."""
    return re.sub(r"\$(mesh|dataplane|policy)\b", ".*", expr).replace("$__rate_interval", "30s")


def legend(form, metric):
    text = re.sub(r"\{\{(\w+)\}\}", lambda m: metric.get(m[1], ""), form)
    return re.sub(r" +", " ", text).strip() or metric.get("__name__", "value")


class Drawing:
    def __init__(self):
        self.parts = []

    def text(self, x, y, content, size=11, **attributes):
        more = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in attributes.items())
        self.parts.append(f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}"{more}>{escape(content)}</text>')

    def rect(self, x, y, w, h, fill, stroke="none"):
        self.parts.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{h:.0f}" rx="3" fill="{fill}" stroke="{stroke}"/>')

    def line(self, points, colour, width=1.4):
        path = " ".join(f"{x:.0f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')

    def area(self, points, colour):
        path = " ".join(f"{x:.0f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polygon points="{path}" fill="{colour}" fill-opacity="0.35"/>')


class Panels:
    def __init__(self, prometheus, begin, end):
        self.prometheus, self.begin, self.end = prometheus, begin, end
        self.step = max(5, round((end - begin) / 120))
        self.d = Drawing()

    def series(self, panel):
        for target in panel["targets"]:
            query = filled_in(target["expr"])
            for s in ask(self.prometheus, "query_range", query=query, start=self.begin, end=self.end, step=self.step):
                values = [(float(t), float(v)) for t, v in s["values"]]
                yield legend(target["legendFormat"], s["metric"]), [p for p in values if math.isfinite(p[1])]

    def draw(self, panel, x, y, w, h):
        self.d.rect(x, y, w, h, "#fff", "#ddd")
        self.d.text(x + 10, y + 18, panel["title"], 12, font_weight="bold")
        unit = UNITS[panel["fieldConfig"]["defaults"]["unit"]]
        {"stat": self.stat, "table": self.table, "timeseries": self.lines}[panel["type"]](panel, x, y, w, h, unit)

    def stat(self, panel, x, y, w, h, unit):
        values = [v for _, s in self.series(panel) for _, v in s[-1:]]
        last = values[-1] if values else 0.0
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        colour = [s["color"] for s in steps if s["value"] is None or last >= s["value"]][-1]
        colour = {"green": "#2a8a4a", "red": "#c4162a", "yellow": "#b58900"}[colour]
        self.d.text(x + w / 2, y + h / 2 + 20, unit(last), 26, text_anchor="middle", fill=colour, font_weight="bold")

    def table(self, panel, x, y, w, h, _unit):
        columns = panel["transformations"][0]["options"]["indexByName"]
        columns = sorted(columns, key=columns.get)
        width = (w - 20) / len(columns)
        rows = [s["metric"] for s in ask(self.prometheus, "query", query=filled_in(panel["targets"][0]["expr"]), time=self.end)]
        for i, name in enumerate(columns):
            self.d.text(x + 10 + i * width, y + 42, name, 11, fill="#666")
            for j, row in enumerate(rows[: int((h - 50) / 20)]):
                fill = {"active": "#2a8a4a", "off": "#222"}.get(row.get(name), "#c4162a") if name == "state" else "#222"
                self.d.text(x + 10 + i * width, y + 62 + j * 20, row.get(name, ""), 12, fill=fill)

    def lines(self, panel, x, y, w, h, unit):
        all_series = [(name, values) for name, values in self.series(panel) if values]
        stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
        rows = (len(all_series) + 1) // 2 if len(all_series) > 3 else len(all_series)
        left, top, right, bottom = x + 70, y + 30, x + w - 12, y + h - 26 - 13 * min(rows, 6)
        if stacked:
            times = sorted({t for _, values in all_series for t, _ in values})
            below, shown = dict.fromkeys(times, 0.0), []
            for name, values in all_series:
                at = dict(values)
                above = {t: below[t] + at.get(t, 0.0) for t in times}
                shown.append((name, [(t, above[t]) for t in times], [(t, below[t]) for t in times]))
                below = above
        else:
            shown = [(name, values, None) for name, values in all_series]
        top_value = max((v for _, values, _ in shown for _, v in values), default=0.0)
        high = self.ceiling(panel["fieldConfig"]["defaults"].get("max", top_value * 1.05))

        def place(t, v):
            return left + (right - left) * (t - self.begin) / (self.end - self.begin), bottom - (bottom - top) * min(v, high) / high

        for i in range(5):
            v = high * i / 4
            _, at = place(self.begin, v)
            self.d.line([(left, at), (right, at)], "#eee", 1)
            self.d.text(left - 6, at + 4, unit(v), 10, text_anchor="end", fill="#666")
        minutes = round((self.end - self.begin) / 60)
        for m in range(0, minutes + 1, max(1, minutes // 4)):
            at, _ = place(self.begin + m * 60, 0)
            anchor = "end" if m == minutes else "middle"
            self.d.text(at, bottom + 13, f"{m} min", 10, text_anchor=anchor, fill="#666")
        for i, (name, values, floor) in enumerate(shown):
            colour = COLOURS[i % len(COLOURS)]
            points = [place(t, v) for t, v in values]
            if floor:
                self.d.area(points + [place(t, v) for t, v in reversed(floor)], colour)
            for part in self.unbroken(values):
                self.d.line([place(t, v) for t, v in part], colour)
            columns = 2 if len(shown) > 3 else 1
            lx, ly = x + 12 + (i % columns) * (w / 2), bottom + 28 + (i // columns) * 13
            if ly < y + h:
                self.d.rect(lx, ly - 7, 8, 8, colour)
                most = int((w / columns - 30) / 5.4)
                self.d.text(lx + 12, ly, name if len(name) <= most else name[: most - 1] + "…", 10)
        if not shown:
            self.d.text((left + right) / 2, (top + bottom) / 2, "none", 12, text_anchor="middle", fill="#999")

    def unbroken(self, values):
        part = []
        for p in values:
            if part and p[0] - part[-1][0] > 1.5 * self.step:
                yield part
                part = []
            part.append(p)
        yield part

    @staticmethod
    def ceiling(v):
        if v <= 0:
            return 1.0
        scale = 10 ** math.floor(math.log10(v))
        return next(s * scale for s in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if s * scale >= v * 0.999)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prometheus")
    parser.add_argument("dashboard")
    parser.add_argument("out")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--end", type=float, default=None, help="Unix time; default now")
    args = parser.parse_args()
    with open(args.dashboard, encoding="utf-8") as file:
        dashboard = json.load(file)
    end = args.end or time.time()
    panels = Panels(args.prometheus, end - args.minutes * 60, end)
    rows, bottom = 0, 0
    for panel in dashboard["panels"]:
        g = panel["gridPos"]
        rows += panel["type"] == "row"
        if rows > args.rows:
            break
        x, y, w, h = g["x"] * COLUMN + GAP, TOP + g["y"] * ROW, g["w"] * COLUMN - GAP, g["h"] * ROW - GAP
        bottom = max(bottom, y + h)
        if panel["type"] == "row":
            panels.d.text(x + 2, y + 20, panel["title"], 14, font_weight="bold")
        else:
            panels.draw(panel, x, y, w, h)
    width, height = 24 * COLUMN + GAP, bottom + 28
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" fill="#222">\n'
        f"<title>{escape(dashboard['title'])}: the panels of the dashboard, drawn from the answers to their queries</title>\n"
        f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>\n'
        f'<text x="{GAP + 2}" y="26" font-size="17" font-weight="bold">{escape(dashboard["title"])}</text>\n'
        f'<text x="{GAP + 2}" y="{height - 10}" font-size="11" fill="#666">Drawn from the answers of a Prometheus to the queries '
        f"of the panels over {args.minutes:g} minutes; not a picture of Grafana.</text>\n"
    )
    with open(args.out, "w", encoding="utf-8") as file:
        file.write(head + "\n".join(panels.d.parts) + "\n</svg>\n")


if __name__ == "__main__":
    main()
