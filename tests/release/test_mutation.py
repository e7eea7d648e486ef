"""The mutation of the pure cores changes what it says, and its list of explained survivors is current."""

import ast

import pytest

from bench.mutation.__main__ import explained, key_of, sample
from bench.mutation.mutants import mutants_of
from bench.mutation.subjects import ROOT, SUBJECTS, Subject

every_subject = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("x = a < b", ["a <= b"]),
        ("x = a and b", ["a or b", "a"]),
        ("x = not a", ["a"]),
        ("x = 2.0 ** n", ["2.0 * n", "3.0"]),
        ("x = a if b else c", ["c if b else a"]),
        ("x = jobs[-1]", ["2"]),
        ("x = max(a)", ["min(a)"]),
        ("x = normalize('NFKC', a)", ["'xxNFKC'"]),
        ("x = u.normalize(F, a)", ["a"]),
        ("x = a.strip()", ["a"]),
        ("x = 'word'", ["'xxword'"]),
        ("x = True", ["False"]),
        ("f(a)", ["pass"]),
        ("a.b = c", ["pass"]),
        ("if a: pass", ["if not a: pass"]),
        ("raise E('why')", []),
        ("def f() -> 'T':\n  'Says what.'\n  return a", ["return None"]),
        ("x: Literal['a'] = b", []),
    ],
)
def test_each_change_is_small_and_at_run_time(code: str, changes: list[str]) -> None:
    assert [mutant.after for mutant in mutants_of(code, "x.py")] == changes


def test_a_mutant_is_the_module_with_one_change() -> None:
    source = "def f(a):\n    return a + 1\n"
    results = []
    for mutant in mutants_of(source, "x.py"):
        names: dict[str, object] = {}
        exec(mutant.code, names)
        function = names["f"]
        assert callable(function)
        results.append((mutant.scope, mutant.after, function(5)))
    assert results == [("f", "return None", None), ("f", "a - 1", 4), ("f", "2", 7)]


@every_subject
def test_a_subject_is_a_module_with_tests(subject: Subject) -> None:
    assert ast.parse(subject.source)
    assert subject.tests
    assert [path for path in subject.tests if not (ROOT / path).is_file()] == []


def test_the_sample_is_the_same_each_time_and_in_order() -> None:
    mutants = mutants_of("x = " + " + ".join(str(number) for number in range(50)), "x.py")
    assert sample(mutants, 10) == sample(mutants, 10)
    assert len(sample(mutants, 10)) == 10
    assert sample(mutants, 0) == mutants == sample(mutants, 1000)


def test_explained_survivors_are_mutants_that_exist() -> None:
    made = {key_of(subject, one) for subject in SUBJECTS for one in mutants_of(subject.source, subject.path)}
    assert explained().keys() <= made
    assert all(why.endswith(".") for why in explained().values())
