"""What is made of callgrind's counts: by function, compared, and said."""
import tempfile
import unittest
from pathlib import Path

import bench
import callgrind
from bench import Measured

SOURCE = '''\
//! A module.

pub struct Reader<'a>(&'a [u8]);

impl<'a, T: Into<u8>> fmt::Debug for Reader<'a> {
    pub(super) fn read<F>(
        &self,
        each: F,
    ) -> u8
    where
        F: Fn(&u8),
    {
        fn inner() -> u8 { 7 }
        self.0.iter().for_each(|byte| {
            each(byte);
        });
        inner()
    }
}

async fn free() {
    work().await;
}
'''

PROFILE = '''\
# callgrind format
version: 1
positions: line
events: Ir
summary: 1176

ob=(1) /bin/program
fl=(1) /tree/src/reader.rs
fn=(1) app::reader::Reader::read
14 100
+1 50
* 7
fi=(2) /rustc/0123/library/core/src/iter.rs
2494 10
fe=(1)
17 5
cfi=(3) /tree/src/other.rs
cfn=(2) app::other::called
calls=3 4
17 1000
-1 4

fl=(3)
fn=(2)
4 300
jump=5 7
8

fn=(3) app::other::many::<alloc::vec::Vec<u8>>::h0123456789abcdef
fi=(2)
10 200
fe=(3)

fn=(4) app::other::many::<u16>::{{closure}}
fi=(2)
11 400
fe=(3)

fl=(4) ???
fn=(5) __memcpy_avx_unaligned_erms
0 100
'''


class Profiles(unittest.TestCase):
    def setUp(self):
        texts = {"src/reader.rs": SOURCE, "src/other.rs": "fn called() {\n    one();\n    two();\n    three();\n}\n"}
        self.sources = callgrind.Sources("/tree", texts.get)

    def test_costs_are_those_of_the_functions_where_the_code_is_written(self):
        costs = callgrind.read_profile(PROFILE, self.sources.place)
        expected = {
            "src/reader.rs Reader::read": 100 + 50 + 7 + 10 + 5 + 4,
            "src/other.rs called": 300,
            "src/other.rs many": 200 + 400,
            "__memcpy_avx_unaligned_erms": 100,
        }
        self.assertEqual(dict(costs), expected)

    def test_a_profile_that_does_not_add_up_is_refused(self):
        for wrong in (PROFILE.replace("1176", "1177"), PROFILE.replace("summary: 1176", ""), "summary: 0\n"):
            with self.assertRaises(ValueError):
                callgrind.read_profile(wrong, self.sources.place)

    def test_forms_of_a_generic_function_have_one_name(self):
        for symbol in (
            "a::b::h0123456789abcdef",
            "a::b::<u8>",
            "a::b::<alloc::vec::Vec<core::option::Option<u8>>>::h0123456789abcdef",
            "a::b::{{closure}}::{{closure}}",
            "a::b::<T>::{closure#0}",
            "a::b::h0123456789abcdef.llvm.1234567",
        ):
            self.assertEqual(callgrind.fold(symbol), "a::b", symbol)
        for symbol in ("<a::B as c::D>::e::h0123456789abcdef", "<a::B<fn(u8) -> u16> as c::D<u8>>::e::<u8>"):
            self.assertEqual(callgrind.fold(symbol), "<a::B as c::D>::e", symbol)

    def test_a_symbol_is_named_as_in_its_source(self):
        table = {"a::B::c": "B::c", "a::b::c": "c", "c": "c", "<a::B as d::E>::c": "B::c", "<&mut B as E>::c": "B::c"}
        self.assertEqual({symbol: callgrind.short(symbol) for symbol in table}, table)

    def test_a_line_is_in_the_innermost_function(self):
        source = callgrind.Source(SOURCE)
        lines = {3: None, 5: None, 6: "Reader::read", 13: "Reader::inner", 14: "Reader::read", 18: "Reader::read"}
        lines |= {19: None, 21: "free", 22: "free", 23: "free"}
        self.assertEqual({line: source.function(line) for line in lines}, lines)


def measured(**functions):
    return Measured(float(sum(functions.values())), {name: float(cost) for name, cost in functions.items()})


class Comparison(unittest.TestCase):
    def verdict(self, before, after, meant=()):
        (verdict,) = bench.compare({"head/parse": before}, {"head/parse": after}, meant)
        return verdict, "\n".join(bench.report([verdict]))

    def test_a_case_that_is_worse_fails_and_names_the_function(self):
        verdict, text = self.verdict(measured(parse=900, find=100), measured(parse=890, find=141))
        self.assertTrue(verdict.fails)
        self.assertEqual(verdict.grown(), [("find", 100.0, 141.0)])
        self.assertIn("+3.10%  worse", text)
        self.assertRegex(text, r"\n  find +100\.0 -> +141\.0\n")
        self.assertIn("Instructions: head/parse REASON", text)

    def test_the_functions_that_grew_most_come_first_and_are_few(self):
        before = measured(a=10, b=10, c=10, d=10, e=10, f=10, g=1000, h=10)
        after = measured(a=12, b=90, c=13, d=14, e=15, f=16, g=990, new=50)
        verdict, _ = self.verdict(before, after)
        self.assertEqual([name for name, _, _ in verdict.grown()], ["b", "new", "f", "e", "d"])
        # One of a hundred and more is noise.
        verdict, _ = self.verdict(measured(a=1000, b=10), measured(a=1200, b=11))
        self.assertEqual([name for name, _, _ in verdict.grown()], ["a"])

    def test_up_to_the_limit_it_passes(self):
        for after in (1029, 1000, 500):
            verdict, text = self.verdict(measured(parse=1000), measured(parse=after))
            self.assertFalse(verdict.fails or verdict.is_worse, after)
            self.assertNotIn("REASON", text)
        verdict, _ = self.verdict(measured(parse=1000), measured(parse=1031))
        self.assertTrue(verdict.fails)

    def test_what_only_one_side_has_is_new_or_gone(self):
        verdicts = bench.compare({"a": measured(x=1), "b": measured(x=1)}, {"b": measured(x=1), "c": measured(x=9)}, [])
        self.assertEqual([verdict.name for verdict in verdicts], ["b", "c", "a"])
        self.assertEqual([verdict.fails for verdict in verdicts], [False, False, True])
        _, c, a, rest, *_, last = bench.report(verdicts)
        self.assertRegex(c, r"^c .* 9\.0 +new$")
        self.assertRegex(a, r"^a .* 1\.0 .* gone  why\?$")
        self.assertEqual(rest, "1 cases of 3 take what they took.")
        self.assertIn("Instructions: a REASON", last)

    def test_a_case_may_go_for_a_reason(self):
        (verdict,) = bench.compare({"a": measured(x=1)}, {}, [("a", "It is part of b.")])
        self.assertFalse(verdict.fails)
        self.assertIn("meant: It is part of b.", "\n".join(bench.report([verdict])))

    def test_cases_are_bounded_by_others(self):
        name, other, most = bench.BOUNDS[0]
        for takes, holds in ((1000 * most, True), (1000 * most + 1, False)):
            lines, hold = bench.check_bounds({name: measured(a=takes), other: measured(a=1000)})
            self.assertEqual((len(lines), hold, "too much" in lines[0]), (1, holds, not holds))
        self.assertEqual(bench.check_bounds({name: measured(a=1)}), ([], True))

    def test_what_is_meant_passes_and_is_said(self):
        meant = bench.read_meant("head/* It is stricter now.\nroute/x\n\nlog/line  and so on \n")
        self.assertEqual(meant, [("head/*", "It is stricter now."), ("log/line", "and so on")])
        verdict, text = self.verdict(measured(parse=100), measured(parse=200), meant)
        self.assertTrue(verdict.is_worse and not verdict.fails)
        self.assertIn("meant: It is stricter now.", text)
        self.assertNotIn("REASON", text)
        verdict, _ = self.verdict(measured(parse=100), measured(parse=200), bench.read_meant("route/* It is not."))
        self.assertTrue(verdict.fails)


class Trees(unittest.TestCase):
    def test_a_tree_is_laid_out_and_what_stays_is_not_touched(self):
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory) / "tree"
            bench.lay_out({"a/b.rs": b"1", "c": b"2", "d/e": b"3"}, place)
            touched = (place / "a/b.rs").stat().st_mtime_ns
            bench.lay_out({"a/b.rs": b"1", "c": b"4", "d": b"5"}, place)
            files = {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
            self.assertEqual(files, {"a/b.rs": b"1", "c": b"4", "d": b"5"})
            self.assertEqual((place / "a/b.rs").stat().st_mtime_ns, touched)


if __name__ == "__main__":
    unittest.main()
