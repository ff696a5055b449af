"""The chart for the README: CPU per request, as bars. Its colours go with light and dark pages."""
from xml.sax.saxutils import escape

WIDTH, LABEL, BAR, GAP, PANEL = 760, 130, 16, 5, 34
COLOURS = {"tidegate": "#0d9488", "relay": "#94a3b8"}
PEER = "#64748b"
# A bar that is longer than so many of nginx is cut, or nobody could tell the others apart.
LONGEST = 2.2
SHOWN = ("128B", "10KB", "20k", "40k")


def chart(summary, chosen, classes, described):
    panels = [case for case in chosen if case.name in SHOWN] or chosen[:4]
    entrants = [each for each in classes if each.name != "direct"]
    column = WIDTH // 2
    rows = -(-len(panels) // 2)
    height_of_panel = PANEL + len(entrants) * (BAR + GAP) + 18
    height = 30 + rows * height_of_panel + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<style>text { fill: #334155 } .faint { fill: #64748b } .cut { fill: #ffffff } "
        "@media (prefers-color-scheme: dark) { text { fill: #e2e8f0 } .faint { fill: #94a3b8 } .cut { fill: #0d1117 } }"
        "</style>",
        '<text x="8" y="18" font-size="14" font-weight="600">CPU a request, microseconds (shorter is better)</text>',
    ]
    for number, case in enumerate(panels):
        x, y = (number % 2) * column + 8, 30 + (number // 2) * height_of_panel
        parts += panel(case, summary[case.name], entrants, x, y, column - 24)
    where = f"{described['cpu']}, Linux {described['kernel']}, {described['date'][:10]}; one worker on one core"
    parts += [f'<text class="faint" x="8" y="{height - 8}" font-size="11">{escape(where)}</text>', "</svg>", ""]
    return "\n".join(parts)


def panel(case, of_case, entrants, x, y, width):
    longest = max((figures.get("cpu_us") or 0 for figures in of_case.values()), default=0) or 1
    longest = min(longest, LONGEST * (of_case.get("nginx", {}).get("cpu_us") or longest))
    room = width - LABEL - 50
    parts = [f'<text x="{x}" y="{y + 20}" font-weight="600">{escape(case.title)}</text>']
    for number, each in enumerate(entrants):
        top = y + PANEL + number * (BAR + GAP)
        figures = of_case.get(each.name, {})
        used = figures.get("cpu_us")
        parts.append(f'<text x="{x}" y="{top + 12}">{escape(each.title)}</text>')
        if not used:
            slow = "cannot keep up" if figures.get("kept_up_with") else "-"
            parts.append(f'<text class="faint" x="{x + LABEL}" y="{top + 12}">{slow}</text>')
            continue
        length = max(1, round(room * min(used, longest) / longest))
        colour = COLOURS.get(each.name.split("-")[0], PEER)
        parts.append(f'<rect x="{x + LABEL}" y="{top}" width="{length}" height="{BAR}" rx="2" fill="{colour}"/>')
        if used > longest:
            at = x + LABEL + length - 16
            parts.append(f'<path class="cut" d="M{at} {top + BAR} l5 -{BAR} h4 l-5 {BAR} z"/>')
        parts.append(f'<text x="{x + LABEL + length + 5}" y="{top + 12}">{used:.1f}</text>')
    return parts
