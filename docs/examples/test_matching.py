"""The work of `matching.py`, without a system: python -m unittest test_matching"""
import unittest
from typing import Any

from matching import Candidate, Requirements, analyse, candidate, match, requirements

POSTING = """Senior Backend Engineer
You write Rust and SQL, with 5+ years behind you. Go is a plus.
Ideally you know NATS.
We do not use gopher words such as going or SQLite.
"""


class Analysis(unittest.TestCase):
    def test_what_must_be_and_what_is_nice(self) -> None:
        self.assertEqual(analyse(POSTING), Requirements(
            "Senior Backend Engineer", "senior", ["rust", "sql"], ["go", "nats"], 5))

    def test_what_is_required_somewhere_is_not_optional(self) -> None:
        found = analyse("Engineer\nPython is a plus.\nPython is needed.")
        self.assertEqual((found.must, found.nice), (["python"], []))

    def test_a_posting_that_asks_for_nothing(self) -> None:
        self.assertEqual(analyse("Gardener"), Requirements("Gardener", "", [], [], 0))

    def test_what_is_no_posting_is_refused(self) -> None:
        for wrong in ("", " \n", None, 7, "x" * 70_000):
            with self.assertRaises(ValueError):
                analyse(wrong)  # type: ignore[arg-type]


class Matching(unittest.TestCase):
    WANTED = Requirements("Engineer", "", ["rust", "sql"], ["nats"], 4)

    def test_the_best_comes_first_with_reasons(self) -> None:
        ranked = match(self.WANTED, [
            Candidate("Bob", ["rust"], 2), Candidate("Ada", ["nats", "rust", "sql"], 9), Candidate("Cy", [], 0)])
        self.assertEqual([(one.name, one.score) for one in ranked], [("Ada", 100), ("Bob", 45), ("Cy", 0)])
        self.assertEqual(ranked[1].reasons, ["has rust", "lacks sql", "2 of 4 years"])

    def test_equal_ones_come_by_name_whatever_their_order(self) -> None:
        pair = [Candidate("B", ["rust"], 4), Candidate("A", ["rust"], 4)]
        self.assertEqual(match(self.WANTED, pair), match(self.WANTED, pair[::-1]))
        self.assertEqual(match(self.WANTED, pair)[0].name, "A")

    def test_input_is_checked(self) -> None:
        good: dict[str, Any] = {"name": "Ada", "skills": ["Rust", "rust"], "years": 7}
        self.assertEqual(candidate(good), Candidate("Ada", ["rust"], 7))
        wrongs: list[Any] = [{}, good | {"years": -1}, good | {"years": True}, good | {"skills": "rust"},
                             good | {"age": 7}, []]
        for wrong in wrongs:
            with self.assertRaises(ValueError):
                candidate(wrong)
        with self.assertRaises(ValueError):
            requirements({"title": "x", "level": "boss", "must": [], "nice": [], "years": 0})


if __name__ == "__main__":
    unittest.main()
