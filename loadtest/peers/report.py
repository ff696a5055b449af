"""From slices to medians, and from those to a table, a chart and JSON."""
import json
import os
import statistics

import bars
from cases import NOTES

BASES = (("nginx", "of nginx"), ("haproxy", "of HAProxy"), ("relay", "of the relay"))


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def summarise(slices, chosen, classes):
    """Medians by case and contender; times are normalised by the machine's speed before each slice."""
    reference = median(figures.get("probe_ns") for figures in slices)
    summary = {}
    for case in chosen:
        of_case = summary[case.name] = {}
        for each in classes:
            mine = [one for one in slices if (one["case"], one["contender"]) == (case.name, each.name)]
            if mine:
                of_case[each.name] = one_summary(case, mine, reference)
        direct = of_case.get("direct", {}).get("latency_us")
        for figures in of_case.values():
            latency = figures.get("latency_us")
            if case.rate and direct and latency:
                figures["added_us"] = {name: latency[name] - direct[name] for name in latency}
        add_ratios(of_case)
    return reference, summary


def one_summary(case, slices, reference):
    good = [one for one in slices if one["use"] == "yes"]
    slow = [one for one in slices if one["use"] == "slow"]
    wrong = {}
    for one in slices:
        for kind, times in one.get("errors_by_kind", {}).items():
            wrong[kind] = wrong.get(kind, 0) + times
    result = {"slices": len(good), "errors": wrong}
    if slow:
        result["kept_up_with"] = median(one["requests_per_second"] for one in slow)
    if not good or len(slow) > len(good):
        return result

    def normalised(figure, power=1):
        return median(figure(one) * (reference / one["probe_ns"]) ** power for one in good if figure(one) is not None)

    # At a fixed rate, the rate is no figure of the contender's.
    result["requests_per_second"] = normalised(lambda one: one["requests_per_second"], 0 if case.rate else -1)
    result["cpu_us"] = normalised(lambda one: one.get("cpu_us"))
    result["cpu_us_raw"] = median(one.get("cpu_us") for one in good)
    if all("latency_us" in one for one in good):
        names = ("p50", "p99", "p999")
        result["latency_us"] = {name: normalised(lambda one, name=name: one["latency_us"][name]) for name in names}
    result["memory_mib"] = median(one["memory_kib"] / 1024 for one in good if "memory_kib" in one)
    if case.idle:
        # The first round finds the process fresh.
        result["idle_kib"] = min(one["idle_kib"] for one in good)
    if case.per_byte and result["cpu_us"]:
        result["mb_per_cpu_second"] = case.size / result["cpu_us"]
    if result["cpu_us"]:
        result["waited_share"] = median(one["waited_ns"] / one["seconds"] / 1e9 for one in good)
        result["softirqd_share"] = median(one["softirqd_ns"] / max(1, one["cpu_ns"]) for one in good)
    return result


def add_ratios(of_case):
    for base, _ in BASES:
        of_base = of_case.get(base, {}).get("cpu_us")
        for figures in of_case.values():
            if of_base and figures.get("cpu_us"):
                figures.setdefault("cpu_of", {})[base] = figures["cpu_us"] / of_base


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def row_of(case, each, figures, bases):
    row = [each.title]
    if figures.get("kept_up_with") and "cpu_us" not in figures:
        return row + [f"cannot keep up: {number(figures['kept_up_with'])}/s", *[""] * (width(case, bases) - 1)]
    if not figures["slices"]:
        kinds = ", ".join(f"{kind}: {times}" for kind, times in figures["errors"].items())
        return row + [f"failed ({kinds})", *[""] * (width(case, bases) - 1)]
    row.append(number(figures.get("cpu_us"), 2))
    row += [number(figures.get("cpu_of", {}).get(base), 2) for base, _ in bases]
    row.append(number(figures["requests_per_second"]))
    if case.rate:
        added = figures.get("added_us", {})
        is_base = each.name == "direct"
        values = figures["latency_us"] if is_base else added
        row += [("" if is_base else "+") + number(values.get(name)) if values else "-" for name in ("p50", "p99")]
    if case.per_byte:
        row.append(number(figures.get("mb_per_cpu_second")))
    if case.reloads:
        row.append(", ".join(f"{kind}: {times}" for kind, times in figures["errors"].items()) or "none")
    row.append(number(figures.get("memory_mib"), 1))
    if case.idle:
        row.append(number(figures.get("idle_kib"), 2))
    return row


def width(case, bases):
    return len(header_of(case, bases)) - 1


def header_of(case, bases):
    header = ["", "CPU a request, us", *(title for _, title in bases), "requests/s"]
    header += ["p50 added, us", "p99 added, us"] if case.rate else []
    header += ["MB a CPU second"] if case.per_byte else []
    header += ["errors"] if case.reloads else []
    header += ["memory, MiB"]
    return header + (["KiB an idle connection"] if case.idle else [])


def overview(summary, chosen, classes):
    """CPU per request of all cases in one table, with the ratio to nginx."""
    rows = []
    for each in classes:
        if each.name == "direct":
            continue
        row = [each.title]
        for case in chosen:
            figures = summary[case.name].get(each.name, {})
            ratio = figures.get("cpu_of", {}).get("nginx")
            cell = number(figures.get("cpu_us"), 1)
            row.append(f"{cell} ({ratio:.2f})" if ratio else cell)
        rows.append(row)
    return table(["", *(case.name for case in chosen)], rows)


def markdown(described, settings, chosen, classes, summary, left_out):
    lines = ["# The comparison with peers", ""]
    about = (
        f"{described['date']}; {described['cpu']}, {described['cores']} cores"
        f"{' (virtual)' if described['virtual'] else ''}, {described['memory_gib']} GiB, Linux {described['kernel']}; "
        f"Tidegate at {described['commit']}; medians of {settings['rounds']} interleaved rounds of "
        f"{settings['seconds']:g} s. `make peers{' FULL=1' if settings['full'] else ''}` makes this file."
    )
    lines += [about, "", *(f"- Warning: {warning}." for warning in described["warnings"])]
    lines += [""] if described["warnings"] else []
    lines += [
        "One worker on core 0; generator and backends on core 1; 64 keep-alive connections, 128 B responses and 3 header "
        "fields where nothing else is said. CPU time is that of all the contender's threads, and normalised by the speed "
        "that the machine had just before. At fixed rates latency counts from the moment at which a request should have "
        "been sent; what is shown is how much a proxy adds to it.",
        "",
        "## CPU a request, microseconds (ratio to nginx)",
        "",
        *overview(summary, chosen, classes),
        "",
    ]
    for case in chosen:
        of_case = summary[case.name]
        bases = [base for base in BASES if of_case.get(base[0], {}).get("cpu_us")]
        rows = [row_of(case, each, of_case[each.name], bases) for each in classes if each.name in of_case]
        lines += [f"## {case.title} (`{case.name}`)", "", *table(header_of(case, bases), rows), ""]
        lines += [f"{NOTES[case.name][0].upper()}{NOTES[case.name][1:]}.", ""] if case.name in NOTES else []
    lines += ["## What differs between the contenders", ""]
    versions = described["versions"]
    rows = [[each.title, versions.get(each.name, ""), each.differs] for each in classes]
    lines += table(["", "version", "what it does, or does not, in this configuration"], rows)
    out = sorted({(one["contender"], one["setup"], one["why"]) for one in left_out})
    titles = {each.name: each.title for each in classes}
    lines += ["", *(f"- {titles[name]} is not in `{setup}`: {why}." for name, setup, why in out)]
    return "\n".join(lines).rstrip("\n") + "\n"


def disturbances(summary):
    """What the accounts say against the figures."""
    # These have one thread, and a core of their own: whom they wait for does not belong there.
    alone = [summary[case].get(name, {}) for case in summary for name in ("nginx", "haproxy", "relay")]
    waited = median(figures.get("waited_share") for figures in alone) or 0
    if waited > 0.01:
        yield f"other programs have used core 0: nginx and HAProxy have waited for it {100 * waited:.0f} % of the time"
    kernel = max((one.get("softirqd_share", 0) for of_case in summary.values() for one in of_case.values()), default=0)
    if kernel > 0.02:
        yield f"up to {100 * kernel:.0f} % of a contender's CPU time was spent in ksoftirqd, and is not counted"


def write(out, described, settings, chosen, classes, slices, left_out):
    """Writes the results; whether all of Tidegate's slices were good."""
    reference, summary = summarise(slices, chosen, classes)
    described["warnings"] += disturbances(summary)
    text = markdown(described, settings, chosen, classes, summary, left_out)
    os.makedirs(out, exist_ok=True)
    everything = {
        "machine": described,
        "settings": {**settings, "probe_reference_ns": reference},
        "summary": summary,
        "left_out": left_out,
        "slices": slices,
    }
    files = {
        "peers.md": text,
        "peers.json": json.dumps(everything, indent=1) + "\n",
        "peers.svg": bars.chart(summary, chosen, classes, described),
    }
    for name, content in files.items():
        with open(os.path.join(out, name), "w") as file:
            file.write(content)
    print(text)
    names = ", ".join(os.path.join(os.path.relpath(out), name) for name in files)
    print(f"written: {names}")
    bad = [one for one in slices if one["use"] == "no" and one["contender"].startswith("tidegate")]
    for one in bad:
        print(f"a slice of {one['contender']} failed: {one['case']}, {one['errors_by_kind']}")
    return not bad
