"""The arithmetic of the comparison: what counts, how it is compared, and what is shown."""
import tempfile
import unittest
from types import SimpleNamespace
from xml.etree import ElementTree

import bars
import cases
import contenders
import report
import run

CASES = {case.name: case for case in cases.CASES}
CLASSES = [contenders.Nginx, contenders.Haproxy, contenders.Relay, contenders.TidegateEpoll, contenders.Direct]
MACHINE = {
    "date": "2026-01-01 00:00 UTC",
    "cpu": "A <fast> one",
    "cores": 2,
    "virtual": True,
    "memory_gib": 1,
    "kernel": "6",
    "commit": "abc",
    "versions": {},
    "warnings": [],
}


def one(case, contender, cpu_us, use="yes", **more):
    """A slice with 1000 requests."""
    figures = {
        "case": case,
        "contender": contender,
        "use": use,
        "round": 0,
        "probes_ns": [100, 100],
        "requests": 1000,
        "seconds": 1.0,
        "requests_per_second": 1000.0,
        "errors": 0,
        "errors_by_kind": {},
        "memory_kib": 2048,
        "waited_ns": 0,
        "softirqd_ns": 0,
        "others_share": 0.0,
        "stolen_share": 0.0,
        "latency_us": {"p50": 50.0, "p99": 90.0, "p999": 95.0},
    }
    if cpu_us is not None:
        figures.update(cpu_us=cpu_us, cpu_ns=int(cpu_us * 1_000_000))
    return {**figures, **more}


def summary_of(slices, *names):
    return report.summarise(slices, [CASES[name] for name in names], CLASSES)


class Summary(unittest.TestCase):
    def test_costs_are_compared_within_a_round(self):
        # The machine was half as fast in the second round, and a third in the third; one round is a contender's alone.
        costs = {"nginx": [10, 20, 30], "tidegate-epoll": [5, 12, 15, 1000], "haproxy": [30]}
        slices = [one("128B", name, cost, round=turn) for name in costs for turn, cost in enumerate(costs[name])]
        # Repeated, for it was disturbed.
        slices.insert(0, one("128B", "nginx", 90, round=1, use="unsteady"))
        slices.append(one("128B", "nginx", 90, round=2, use="unsteady"))
        of_case = summary_of(slices, "128B")["128B"]
        self.assertAlmostEqual(of_case["tidegate-epoll"]["cpu_of"]["nginx"], 0.5)
        self.assertAlmostEqual(of_case["tidegate-epoll"]["cpu_of_quartiles"]["nginx"][1], 0.55)
        self.assertAlmostEqual(of_case["haproxy"]["cpu_of"]["nginx"], 3)
        self.assertAlmostEqual(of_case["tidegate-epoll"]["cpu_of"]["haproxy"], 1 / 6)
        text = "\n".join(report.case_table(CASES["128B"], of_case, CLASSES))
        self.assertIn("| 0.50 (0.50 to 0.55) |", text)

    def test_who_falls_behind_is_not_compared(self):
        slow = {"use": "slow", "requests_per_second": 9000.0, "errors_by_kind": {"unsent": 7}}
        slices = [one("20k", "nginx", 10, round=turn, **slow) for turn in (1, 2)]
        slices += [one("20k", "nginx", 10), one("20k", "tidegate-epoll", 9), one("20k", "relay", 8)]
        of_case = summary_of(slices, "20k")["20k"]
        self.assertNotIn("nginx", of_case["tidegate-epoll"]["cpu_of"])
        self.assertAlmostEqual(of_case["tidegate-epoll"]["cpu_of"]["relay"], 9 / 8)

    def test_medians_of_good_slices_count(self):
        # The third was repeated, and then it was fine; the fourth was disturbed both times, and counts all the same.
        costs = [(0, 10, "yes"), (1, 11, "yes"), (2, 400, "unsteady"), (2, 12, "yes"), (3, 90, "unsteady")]
        costs += [(3, 80, "unsteady"), (4, 1000, "no")]
        slices = [one("128B", "nginx", cost, use=use, round=turn) for turn, cost, use in costs]
        figures = summary_of(slices, "128B")["128B"]["nginx"]
        self.assertAlmostEqual(figures["cpu_us"], 11.5)
        self.assertEqual((figures["rounds"], figures["good"], figures["steady"]), (5, 4, 3))
        unsteady = [one("128B", "nginx", 7, use="unsteady")]
        self.assertAlmostEqual(summary_of(unsteady, "128B")["128B"]["nginx"]["cpu_us"], 7)

    def test_memory_of_idle_connections_is_that_of_a_fresh_process(self):
        slices = [one("idle5000", "nginx", 10, use="unsteady", idle_kib=1.0)]
        slices += [one("idle5000", "nginx", 10, round=turn, idle_kib=0.1) for turn in (0, 1)]
        self.assertEqual(summary_of(slices, "idle5000")["idle5000"]["nginx"]["idle_kib"], 1.0)

    def test_latency_is_what_a_proxy_adds(self):
        latency = {"p50": 80.0, "p99": 190.0, "p999": 200.0}
        slices = [one("20k", "direct", None), one("20k", "nginx", 10, latency_us=latency)]
        figures = summary_of(slices, "20k")["20k"]
        self.assertAlmostEqual(figures["nginx"]["added_us"]["p50"], 30)
        self.assertAlmostEqual(figures["nginx"]["added_us"]["p99"], 100)

    def test_a_contender_that_is_too_slow_has_no_cost(self):
        slow = {"use": "slow", "requests_per_second": 9000.0, "errors_by_kind": {"unsent": 7}}
        slices = [one("20k", "nginx", 10, round=0, **slow), one("20k", "nginx", 10, round=1)]
        figures = summary_of(slices, "20k")["20k"]["nginx"]
        self.assertNotIn("cpu_us", figures)
        text = "\n".join(report.case_table(CASES["20k"], {"nginx": figures}, CLASSES))
        self.assertIn("kept up in 1 rounds of 2; in the others 9,000/s", text)

    def test_what_disturbed_it_is_told(self):
        quiet = [one("128B", "nginx", 10)]
        self.assertEqual(list(report.disturbances(summary_of(quiet, "128B"), quiet)), [])
        loud = [one("128B", "nginx", 10, softirqd_ns=5_000_000), one("128B", "nginx", 10, use="unsteady")]
        told = " ".join(report.disturbances(summary_of(loud, "128B"), loud))
        self.assertIn("in 50 % of the slices", told)
        self.assertIn("up to 50 % of a contender's CPU time", told)

    def test_a_failure_is_shown_and_not_measured(self):
        slices = [one("128B", "nginx", 10, use="no", errors=3, errors_by_kind={"reset": 3})]
        figures = summary_of(slices, "128B")["128B"]["nginx"]
        self.assertNotIn("cpu_us", figures)
        self.assertIn("failed (reset: 3)", "\n".join(report.case_table(CASES["128B"], {"nginx": figures}, CLASSES)))


class Use(unittest.TestCase):
    def use(self, case, **more):
        return run.Runner.usable(CASES[case], one(case, "nginx", 10, **more))

    def test_what_a_slice_is_good_for(self):
        self.assertEqual(self.use("128B"), "yes")
        self.assertEqual(self.use("128B", errors=1, errors_by_kind={"status_502": 1}), "no")
        self.assertEqual(self.use("128B", requests=0), "no")
        self.assertEqual(self.use("128B", probes_ns=[100, 130]), "unsteady")
        self.assertEqual(self.use("128B", others_share=0.2), "unsteady")
        self.assertEqual(self.use("128B", stolen_share=0.1), "unsteady")
        rate = {"requests_per_second": 20000.0}
        self.assertEqual(self.use("20k", **rate), "yes")
        self.assertEqual(self.use("20k", requests_per_second=19000.0), "slow")
        self.assertEqual(self.use("20k", **rate, errors=9, errors_by_kind={"unsent": 9}), "slow")
        self.assertEqual(self.use("20k", **rate, errors=9, errors_by_kind={"unsent": 8, "reset": 1}), "no")
        passed = {"cpu_ns": 60, "core_ns": 80, "stolen_ns": 5, "at_ns": 100, "waited_ns": 1}
        difference = run.Runner.difference(dict.fromkeys(passed, 0), passed)
        self.assertEqual(difference, {"cpu_ns": 60, "waited_ns": 1, "others_share": 0.2, "stolen_share": 0.05})
        # Errors are what this case is about.
        self.assertEqual(self.use("reload", errors=9, errors_by_kind={"reset": 9}), "yes")


class Seldom(unittest.TestCase):
    def test_who_is_measured_in_a_few_rounds(self):
        def seldom(case, contender):
            return run.Runner.is_seldom(CASES[case], contender)

        self.assertEqual([seldom("20k", each) for each in (contenders.Caddy, contenders.Direct)], [True, False])
        self.assertEqual([seldom("128B", each) for each in (contenders.Direct, contenders.Nginx)], [True, False])
        # It has few rounds itself.
        self.assertFalse(seldom("idle10000", contenders.Caddy))


class Again(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.runner = run.Runner(SimpleNamespace(rounds=10, seconds=1.0), None, "", 1000)
        self.runner.say = lambda _text: None

    def measured(self, case, uses, rounds=3):
        """Who was measured in each round, when nginx's slices come out so, and those of others well."""
        uses = list(uses)
        fine = one(case.name, "", 10.0)
        self.runner.slice = lambda *_: {name: fine[name] for name in ("requests_per_second", "errors", "errors_by_kind")}
        self.runner.descriptors = 100_000
        self.runner.usable = lambda _case, figures: uses.pop(0) if figures["contender"] == "nginx" and uses else "yes"
        entrants = [(each(self.directory, cases.SETUPS["plain"]), None) for each in (contenders.Nginx, contenders.Caddy)]
        for turn in range(rounds):
            self.runner.round(turn, case, entrants)
        return [[each["contender"] for each in self.runner.slices if each["round"] == turn] for turn in range(rounds)]

    def test_rounds_are_reversed_and_those_who_are_far_are_seldom_there(self):
        rounds = self.measured(CASES["128B"], [], rounds=4)
        self.assertEqual(rounds, [["nginx", "caddy"], ["nginx"], ["nginx"], ["caddy", "nginx"]])

    def test_a_case_may_have_fewer_rounds(self):
        rounds = self.measured(CASES["idle5000"], [], rounds=6)
        self.assertEqual([len(each) for each in rounds], [2, 2, 2, 2, 0, 0])

    def test_what_is_measured_again(self):
        # Once, and as far as there are repetitions left: 2 contenders, 10 rounds, a fifth of their slices.
        uses = ["unsteady", "unsteady", "slow", "yes", "no", "yes", "unsteady", "yes", "unsteady", "yes", "unsteady"]
        rounds = self.measured(CASES["128B"], uses, rounds=6)
        self.assertEqual([each.count("nginx") for each in rounds], [2, 2, 2, 2, 2, 1])


class Output(unittest.TestCase):
    def test_every_case_has_a_table_and_the_chart_is_xml(self):
        slices = [
            one(case.name, each.name, None if each.name == "direct" or case.reloads else 10.0, idle_kib=1.0)
            for case in cases.CASES
            for each in CLASSES
        ]
        summary = report.summarise(slices, cases.CASES, CLASSES)
        settings = {"rounds": 12, "seconds": 0.8, "full": True}
        out = [{"where": "chain", "contender": "relay", "why": "it reads nothing"}]
        slices.append(one("close", "nginx", 10.0, use="no", errors=2, errors_by_kind={"reset": 2}))
        text = report.markdown(MACHINE, settings, cases.CASES, CLASSES, summary, slices, out)
        for case in cases.CASES:
            self.assertIn(f"## {case.title} (`{case.name}`)", text)
        self.assertIn("- HAProxy, tcp is not in `chain`: it reads nothing.", text)
        self.assertIn("- A slice of nginx in `close` has failed, and does not count: reset: 2.", text)
        for lines in text.split("\n\n"):
            widths = {line.count("|") for line in lines.splitlines() if line.startswith("|")}
            self.assertLessEqual(len(widths), 1, lines)
        tree = ElementTree.fromstring(bars.chart(summary, cases.CASES, CLASSES, MACHINE))
        # Four panels of four proxies.
        self.assertEqual(len(tree.findall("{http://www.w3.org/2000/svg}rect")), 16)

    def test_choices_are_known(self):
        chosen, classes = run.choose(SimpleNamespace(cases="20k,chain", contenders="nginx", full=False))
        self.assertEqual([case.name for case in chosen], ["20k", "chain"])
        self.assertEqual(classes, [contenders.Nginx])
        core, _ = run.choose(SimpleNamespace(cases=None, contenders=None, full=False))
        self.assertEqual([case.name for case in core], ["128B", "10KB", "20k", "40k", "wrk"])
        with self.assertRaises(SystemExit):
            run.choose(SimpleNamespace(cases="20k,typo", contenders=None, full=False))


if __name__ == "__main__":
    unittest.main()
