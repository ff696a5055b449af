"""From slices to medians, and from those to a table, a chart and JSON."""
import json
import os
import statistics

import bars
import contenders
from cases import NOTES

BASES = (("nginx", "of nginx"), ("haproxy", "of HAProxy"), ("relay", "of the relay"))


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def summarise(slices, chosen, classes):
    """Medians by case and contender."""
    summary = {}
    for case in chosen:
        of_case = summary[case.name] = {}
        for each in classes:
            mine = [one for one in slices if (one["case"], one["contender"]) == (case.name, each.name)]
            if mine:
                of_case[each.name] = one_summary(case, mine)
        direct = of_case.get("direct", {}).get("latency_us")
        for figures in of_case.values():
            latency = figures.get("latency_us")
            if case.rate and direct and latency:
                figures["added_us"] = {name: latency[name] - direct[name] for name in latency}
        add_ratios(of_case, [one for one in slices if one["case"] == case.name])
    return summary


def one_summary(case, slices):
    good = [one for one in slices if one["use"] == "yes"] or [one for one in slices if one["use"] == "unsteady"]
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

    result["requests_per_second"] = median(one["requests_per_second"] for one in good)
    result["cpu_us"] = median(one.get("cpu_us") for one in good)
    if all("latency_us" in one for one in good):
        result["latency_us"] = {name: median(one["latency_us"][name] for one in good) for name in ("p50", "p99", "p999")}
    result["memory_mib"] = median(one["memory_kib"] / 1024 for one in good if "memory_kib" in one)
    if case.idle:
        # The first round finds the process fresh; in others there is memory in it already, which idle ones then use.
        result["idle_kib"] = good[0]["idle_kib"]
    if case.per_byte and result["cpu_us"]:
        result["mb_per_cpu_second"] = case.size / result["cpu_us"]
    if result["cpu_us"]:
        result["busy_share"] = median(one["cpu_ns"] / one["seconds"] / 1e9 for one in good)
        result["waited_share"] = median(one["waited_ns"] / one["seconds"] / 1e9 for one in good)
        result["softirqd_share"] = median(one["softirqd_ns"] / max(1, one["cpu_ns"]) for one in good)
    return result


def add_ratios(of_case, slices):
    """Ratios of what a request cost: their medians and quartiles over the rounds.

    They are taken within a round, between slices that are seconds apart: a machine whose speed changes from minute to
    minute changes both.
    """
    for base, _ in BASES:
        of_base = by_round(slices, base)
        for name, figures in of_case.items():
            own = by_round(slices, name)
            ratios = [own[turn] / of_base[turn] for turn in own if turn in of_base]
            # Who has fallen behind as a rule has no cost at this rate.
            if ratios and figures.get("cpu_us") and of_case[base].get("cpu_us"):
                figures.setdefault("cpu_of", {})[base] = statistics.median(ratios)
                figures.setdefault("cpu_of_quartiles", {})[base] = quartiles(ratios)


def by_round(slices, name):
    """What a request cost a contender in each round, in a steady slice where there is one."""
    costs = {}
    for wanted in ("unsteady", "yes"):
        mine = (one for one in slices if (one["contender"], one["use"]) == (name, wanted))
        costs.update({one["round"]: one["cpu_us"] for one in mine if one.get("cpu_us")})
    return costs


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
    has_base = "latency_us" in of_case.get("direct", {})
    shown = []
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
    added = figures["added_us"][name]
    # The base line itself, in full.
    return number(figures["latency_us"][name]) if figures.get("cpu_us") is None else f"{added:+,.0f}"


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
        why = f"cannot keep up: {number(slow)}/s" if slow else f"failed ({kinds(figures)})"
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
        f"Tidegate at {described['commit']}; medians of {settings['rounds']} interleaved rounds of "
        f"{settings['seconds']:g} s. `make peers{' FULL=1' if settings['full'] else ''}` makes this file."
    )
    lines += [about, "", *(f"- Warning: {warning}." for warning in described["warnings"])]
    lines += [""] if described["warnings"] else []
    lines += [
        "One worker on core 0; generator and backends on core 1; 64 keep-alive connections, 128 B responses and 3 header "
        "fields where nothing else is said. CPU time is that of all the contender's threads. Ratios are taken within each "
        "round, between slices that are seconds apart; what is shown is their median, and their quartiles behind it. "
        "Those who cannot be close, and the direct connection where it only shows what the machine can do, are measured "
        f"in every {contenders.SELDOM}th round. At fixed rates latency counts from the moment at which a request should "
        "have been sent; what is shown is how much a proxy adds to it.",
        "",
        "## CPU a request, microseconds (ratio to nginx)",
        "",
        *overview(summary, chosen, classes),
        "",
    ]
    for case in chosen:
        of_case = summary[case.name]
        lines += [f"## {case.title} (`{case.name}`)", "", *case_table(case, of_case, classes), ""]
        lines += [NOTES[case.name], ""] if case.name in NOTES else []
    lines += ["## What differs between the contenders", ""]
    versions = described["versions"]
    rows = [[each.title, versions.get(each.name, ""), each.differs] for each in classes]
    lines += table(["", "version", "what it does, or does not, in this configuration"], rows)
    lines += ["", *absent(classes, left_out), *failures(classes, slices)]
    return "\n".join(lines).rstrip("\n") + "\n"


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
