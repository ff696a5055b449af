"""From slices to medians, and from those to a table, a chart and JSON."""
import json
import os
import statistics

import bars
from cases import NOTES

BASES = (
    ("nginx", "of nginx"),
    ("haproxy", "of HAProxy"),
    ("relay", "of the relay"),
    ("tidegate-epoll", "of Tidegate, epoll"),
)
LATENCIES = ("p50", "p99", "p999")
# Which of a round's slices counts, where one was repeated.
BEST_FIRST = ("yes", "unsteady", "slow", "no")


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def summarise(slices, chosen, classes):
    """Medians over the rounds by case and contender."""
    summary = {}
    for case in chosen:
        of_case = summary[case.name] = {}
        rounds = {}
        for each in classes:
            mine = [one for one in slices if (one["case"], one["contender"]) == (case.name, each.name)]
            if mine:
                rounds[each.name] = by_round(mine)
                of_case[each.name] = one_summary(case, mine, list(rounds[each.name].values()))
        add_comparisons(case, of_case, rounds)
    return summary


def by_round(slices):
    """One slice of a contender for each round: a steady one where there is one."""
    best = {}
    for use in reversed(BEST_FIRST):
        best.update({one["round"]: one for one in slices if one["use"] == use})
    return best


def counts(one):
    return one["use"] in ("yes", "unsteady")


def one_summary(case, attempts, rounds):
    """What a contender came to in a case: of all its `attempts` those that count for its `rounds`."""
    good = [one for one in rounds if counts(one)]
    slow = [one for one in rounds if one["use"] == "slow"]
    wrong = {}
    for one in attempts:
        for kind, times in one.get("errors_by_kind", {}).items():
            wrong[kind] = wrong.get(kind, 0) + times
    steady = sum(one["use"] == "yes" for one in good)
    result = {"rounds": len(rounds), "good": len(good), "steady": steady, "errors": wrong}
    if slow:
        result["kept_up_with"] = median(one["requests_per_second"] for one in slow)
    if not good or len(slow) >= len(good):
        return result

    result["requests_per_second"] = median(one["requests_per_second"] for one in good)
    result["cpu_us"] = median(one.get("cpu_us") for one in good)
    if all("latency_us" in one for one in good):
        result["latency_us"] = {name: median(one["latency_us"][name] for one in good) for name in LATENCIES}
    result["memory_mib"] = median(one["memory_kib"] / 1024 for one in good if "memory_kib" in one)
    if case.idle:
        # The first slice finds the process fresh; in others there is memory in it already, which idle ones then use.
        result["idle_kib"] = next((one["idle_kib"] for one in attempts if "idle_kib" in one), None)
    if case.per_byte and result["cpu_us"]:
        result["mb_per_cpu_second"] = case.size / result["cpu_us"]
    if result["cpu_us"]:
        result["busy_share"] = median(one["cpu_ns"] / one["seconds"] / 1e9 for one in good)
        result["waited_share"] = median(one["waited_ns"] / one["seconds"] / 1e9 for one in good)
        result["softirqd_share"] = median(one["softirqd_ns"] / max(1, one["cpu_ns"]) for one in good)
    return result


def add_comparisons(case, of_case, rounds):
    """What a request cost in comparison, and what was added to the direct connection's latency.

    Both are taken within a round, between slices that are seconds apart, for a machine whose speed changes from minute to
    minute changes both; what is kept are medians and quartiles over the rounds.
    """
    for name, figures in of_case.items():
        # Who has fallen behind as a rule has no figures at this rate.
        if "requests_per_second" not in figures:
            continue
        for base, _ in BASES:
            pairs = pairs_of(rounds[name], rounds.get(base, {}))
            ratios = [own["cpu_us"] / of["cpu_us"] for own, of in pairs if own.get("cpu_us") and of.get("cpu_us")]
            if ratios and "requests_per_second" in of_case[base]:
                figures.setdefault("cpu_of", {})[base] = statistics.median(ratios)
                figures.setdefault("cpu_of_quartiles", {})[base] = quartiles(ratios)
        pairs = pairs_of(rounds[name], rounds.get("direct", {})) if case.rate and not case.reloads else []
        for percentile in LATENCIES if pairs else ():
            added = [own["latency_us"][percentile] - direct["latency_us"][percentile] for own, direct in pairs]
            figures.setdefault("added_us", {})[percentile] = statistics.median(added)
            figures.setdefault("added_us_quartiles", {})[percentile] = quartiles(added)


def pairs_of(own, others):
    """The slices of the rounds in which both count."""
    return [(own[turn], others[turn]) for turn in own if turn in others and counts(own[turn]) and counts(others[turn])]


def quartiles(values):
    first, _, third = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return [first, third]


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def columns(case, of_case):
    """What a case's table shows: titles, and how each cell comes from a contender's figures."""
    has_base = "latency_us" in of_case.get("direct", {}) and not case.reloads
    shown = [("rounds, steady", lambda one: f"{one['good']} of {one['rounds']}, {one['steady']}")]
    if not case.reloads:
        shown.append(("CPU a request, us", lambda one: number(one.get("cpu_us"), 2)))
        for base, title in BASES:
            if of_case.get(base, {}).get("cpu_us"):
                shown.append((title, lambda one, base=base: ratio(one, base)))
    shown.append(("requests/s", lambda one: number(one["requests_per_second"])))
    if not case.reloads:
        shown.append(("core 0 busy, %", lambda one: number(percent(one.get("busy_share")))))
    if case.rate:
        for name in ("p50", "p99"):
            title = f"{name} added, us" if has_base else f"{name}, us"
            shown.append((title, lambda one, name=name: latency(one, name, has_base)))
    if case.per_byte:
        shown.append(("MB a CPU second", lambda one: number(one.get("mb_per_cpu_second"))))
    if case.reloads:
        shown.append(("errors", lambda one: kinds(one) or "none"))
    shown.append(("memory, MiB", lambda one: number(one.get("memory_mib"), 1)))
    if case.idle:
        shown.append(("KiB an idle connection", lambda one: number(one.get("idle_kib"), 2)))
    return shown


def ratio(figures, base):
    if base not in figures.get("cpu_of", {}):
        return "-"
    first, third = figures["cpu_of_quartiles"][base]
    spread = f" ({first:.2f} to {third:.2f})" if first < third else ""
    return f"{figures['cpu_of'][base]:.2f}{spread}"


def percent(share):
    return None if share is None else 100 * share


def latency(figures, name, has_base):
    if not has_base:
        return number(figures["latency_us"][name])
    if figures.get("cpu_us") is None:
        # The base line itself, in full.
        return number(figures["latency_us"][name])
    if name not in figures.get("added_us", {}):
        return "-"
    first, third = figures["added_us_quartiles"][name]
    return f"{figures['added_us'][name]:+,.0f} ({first:+,.0f} to {third:+,.0f})"


def kinds(figures):
    return ", ".join(f"{kind}: {times}" for kind, times in figures["errors"].items())


def case_table(case, of_case, classes):
    shown = columns(case, of_case)
    rows = []
    for each in classes:
        figures = of_case.get(each.name)
        if not figures:
            continue
        if "requests_per_second" in figures:
            rows.append([each.title, *(cell(figures) for _, cell in shown)])
            continue
        slow = figures.get("kept_up_with")
        kept = f"kept up in {figures['good']} rounds of {figures['rounds']}; in the others {number(slow)}/s"
        why = kept if slow else f"failed ({kinds(figures)})"
        rows.append([each.title, why, *[""] * (len(shown) - 1)])
    return table(["", *(title for title, _ in shown)], rows)


def overview(summary, chosen, classes):
    """CPU per request of all cases in one table, with the ratio to nginx."""
    proxies = [each for each in classes if each.name != "direct"]
    rows = []
    for case in chosen:
        if case.reloads:
            continue
        row = [case.title]
        for each in proxies:
            figures = summary[case.name].get(each.name, {})
            of_nginx = figures.get("cpu_of", {}).get("nginx")
            cell = number(figures.get("cpu_us"), 1)
            row.append(f"{cell} ({of_nginx:.2f})" if of_nginx else cell)
        rows.append(row)
    return table(["", *(each.title for each in proxies)], rows)


def failures(classes, slices):
    """A line for each slice in which something went wrong, whether or not its repetition was good."""
    titles = {each.name: each.title for each in classes}
    for one in slices:
        if one["use"] == "no":
            wrong = kinds({"errors": one["errors_by_kind"]}) or "no answers"
            yield f"- A slice of {titles[one['contender']]} in `{one['case']}` has failed, and does not count: {wrong}."


def markdown(described, settings, chosen, classes, summary, slices, left_out):
    lines = ["# The comparison with peers", ""]
    about = (
        f"{described['date']}; {described['cpu']}, {described['cores']} cores"
        f"{' (virtual)' if described['virtual'] else ''}, {described['memory_gib']} GiB, Linux {described['kernel']}; "
        f"Tidegate at {described['commit']}; {settings['rounds']} interleaved rounds of {settings['seconds']:g} s where "
        f"nothing else is said. `make peers{' FULL=1' if settings['full'] else ''}` makes this file."
    )
    lines += [about, "", *(f"- Warning: {warning}." for warning in described["warnings"])]
    lines += [""] if described["warnings"] else []
    lines += [
        "One worker on core 0; generator and backends on core 1; 64 keep-alive connections, 128 B responses and 3 header "
        "fields where nothing else is said. CPU time is that of all the contender's threads. Figures are medians over the "
        "rounds that count, disturbed ones included; how many those are, and how many of them were steady, is shown. "
        "Ratios are taken within each round, between slices that are seconds apart: what is shown is their median, with "
        "their quartiles behind it, so that a ratio is not just that of the two medians beside it. Those who cannot be "
        "close, and the direct connection where it only shows what the machine can do, are measured in some of the "
        "rounds alone. At fixed rates latency counts from the moment at which a request should have been "
        "sent; what is shown is how much a proxy adds to that of the direct connection in the same round.",
        "",
        "## CPU a request, microseconds (ratio to nginx)",
        "",
        *overview(summary, chosen, classes),
        "",
    ]
    for case in chosen:
        of_case = summary[case.name]
        lines += [f"## {case.title} (`{case.name}`)", "", *lasting(case), *case_table(case, of_case, classes), ""]
        lines += [NOTES[case.name], ""] if case.name in NOTES else []
    lines += ["## What differs between the contenders", ""]
    versions = described["versions"]
    rows = [[each.title, versions.get(each.name, ""), each.differs] for each in classes]
    lines += table(["", "version", "what it does, or does not, in this configuration"], rows)
    lines += ["", *absent(classes, left_out), *failures(classes, slices)]
    return "\n".join(lines).rstrip("\n") + "\n"


def lasting(case):
    """What is said of a case that has rounds of its own."""
    said = [f"{case.rounds} rounds at most"] if case.rounds else []
    said += [f"{case.seconds:g} s each"] if case.seconds else []
    said += ["wrk runs for whole seconds"] if case.kind == "wrk" else []
    return [f"Of this case: {', '.join(said)}.", ""] if said else []


def absent(classes, left_out):
    """A line for each contender and reason that kept it out."""
    reasons = {}
    for one in left_out:
        reasons.setdefault((one["contender"], one["why"]), []).append(f"`{one['where']}`")
    titles = {each.name: each.title for each in classes}
    return [f"- {titles[name]} is not in {', '.join(where)}: {why}." for (name, why), where in reasons.items()]


def disturbances(summary, slices):
    """What the accounts say against the figures."""
    unsteady = sum(one["use"] == "unsteady" for one in slices) / max(1, len(slices))
    if unsteady > 0.1:
        yield f"in {100 * unsteady:.0f} % of the slices the machine changed its speed, or others took core 0"
    kernel = max((one.get("softirqd_share", 0) for of_case in summary.values() for one in of_case.values()), default=0)
    if kernel > 0.02:
        yield f"up to {100 * kernel:.0f} % of a contender's CPU time was spent in ksoftirqd, and is not counted"


def write(out, described, settings, chosen, classes, slices, left_out):
    """Writes the results; whether all of Tidegate's slices were good."""
    summary = summarise(slices, chosen, classes)
    described["warnings"] += disturbances(summary, slices)
    text = markdown(described, settings, chosen, classes, summary, slices, left_out)
    os.makedirs(out, exist_ok=True)
    everything = {
        "machine": described,
        "settings": settings,
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
