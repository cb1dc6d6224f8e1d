"""The evaluator of autoscale formulas: arithmetic against Python's, samples, errors, and the formula that pools use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.formula import FormulaError, Samples, evaluate

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TARGETS: dict[str, float | str] = {
    "$TargetDedicatedNodes": 0.0,
    "$TargetLowPriorityNodes": 6.0,
    "$NodeDeallocationOption": "requeue",
}
QUEUE = """
// grows with the queue, after a first guess
cap = 8; lifespan = time() - time("{created}"); startup = TimeInterval_Minute * 10;
pct = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 5);
n = pct < 70 ? (lifespan > startup ? $TargetLowPriorityNodes : 4)
             : max($PendingTasks.GetSample(1), avg($PendingTasks.GetSample(TimeInterval_Minute * 5)));
n = lifespan > startup ? n : max(n, 4);
$TargetLowPriorityNodes = min(cap, n); $TargetDedicatedNodes = 0;
$NodeDeallocationOption = taskcompletion;  // never interrupt
"""


def samples(values: list[float], newest: float = 0) -> dict[str, Samples]:
    """One sample every 30 s, the last `newest` seconds ago."""
    count = len(values)
    taken = [(NOW - timedelta(seconds=newest + 30 * (count - 1 - i)), value) for i, value in enumerate(values)]
    return {"$PendingTasks": Samples(taken)}


def value(text: str, given_samples: dict[str, Samples] | None = None) -> object:
    return evaluate(f"x = {text};", NOW, given_samples or samples([]), TARGETS)["x"]


@pytest.mark.parametrize(
    ("age", "queue", "newest", "expected"),
    [
        pytest.param(0, [], 0, 4, id="no samples"),
        pytest.param(2, [20] * 4, 0, 4, id="two minutes old"),
        pytest.param(6, [20] * 12, 0, 8, id="six minutes old"),
        pytest.param(60, [20] * 120, 0, 8, id="an hour old"),
        pytest.param(60, [20] * 100 + [0] * 20, 0, 0, id="drained"),
        pytest.param(60, [20] * 100, 280, 6, id="a gap in the samples"),
    ],
)
def test_formula_of_pools(age: float, queue: list[float], newest: float, expected: float) -> None:
    formula = QUEUE.replace("{created}", (NOW - timedelta(minutes=age)).isoformat())
    found = evaluate(formula, NOW, samples(queue, newest), TARGETS)
    assert found["$TargetLowPriorityNodes"] == expected
    assert found["$TargetDedicatedNodes"] == 0
    assert found["$NodeDeallocationOption"] == "taskcompletion"


numbers = st.integers(0, 1000).map(str)
expressions = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda part: f"({part[0]} {part[1]} {part[2]})"),
        st.tuples(inner, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), inner).map(
            lambda part: f"({part[0]} {part[1]} {part[2]})"
        ),
        st.tuples(inner, inner).map(lambda part: f"max({part[0]}, {part[1]})"),
        inner.map(lambda part: f"-{part}"),
    ),
    max_leaves=12,
)


@given(expressions)
def test_arithmetic_is_pythons(text: str) -> None:
    assert value(text) == float(eval(text))


@given(st.lists(st.sampled_from(["1", "2.5", "3", "4"]), min_size=2, max_size=6), st.data())
def test_precedence_without_brackets(operands: list[str], data: st.DataObject) -> None:
    text = operands[0]
    for operand in operands[1:]:
        text += f" {data.draw(st.sampled_from(['+', '-', '*', '/']))} {operand}"
    assert value(text) == pytest.approx(eval(text))


@given(st.booleans(), numbers, numbers)
def test_ternary_is_lazy(truth: bool, first: str, second: str) -> None:
    broken = "$PendingTasks.GetSample(1)"
    assert value(f"{int(truth)} ? {first if truth else broken} : {broken if truth else second}") == float(
        first if truth else second
    )


@given(st.lists(st.integers(0, 99).map(float), min_size=1, max_size=40), st.integers(1, 20))
def test_samples(queue: list[float], window: int) -> None:
    taken = samples(queue)
    newest = queue[::-1][: 2 * window + 1]
    assert value(f"avg($PendingTasks.GetSample(TimeInterval_Minute * {window}, 1))", taken) == pytest.approx(
        sum(newest) / len(newest)
    )
    percent = value(f"$PendingTasks.GetSamplePercent(TimeInterval_Minute * {window})", taken)
    assert percent == min(100.0, 100.0 * len(newest) / (2 * window))
    assert value("max($PendingTasks.GetSample(1))", taken) == queue[-1]


@given(st.text(alphabet='ab12+-*/<>=?:;(). \n$"', max_size=60))
def test_anything_is_a_result_or_a_formula_error(text: str) -> None:
    try:
        evaluate(text, NOW, samples([1.0]), TARGETS)
    except FormulaError as error:
        assert error.code.startswith("AutoScalingFormula") or error.code == "InsufficientSampleData"


def test_times() -> None:
    assert value('(time() - time("2026-11-23T10:00:00Z")) > TimeInterval_Hour') == 1
    assert value('(time("2026-11-23T10:00:00Z") + TimeInterval_Hour * 3) > time()') == 1
    assert value("TimeInterval_Minute * 60 == TimeInterval_Hour") == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = ", "AutoScalingFormulaSyntaxError"),
        ("x = 1", "AutoScalingFormulaSyntaxError"),
        ("x = 1 #;", "AutoScalingFormulaSyntaxError"),
        ("x = $PendingTasks.GetSample(1);", "InsufficientSampleData"),
        ("x = avg($PendingTasks.GetSample(TimeInterval_Minute, 70));", "InsufficientSampleData"),
        ("x = avg($PendingTasks.GetSample(TimeInterval_Minute * 5));", "InsufficientSampleData"),
        ("x = 1 / 0;", "AutoScalingFormulaEvaluationError"),
        ("x = unknown + 1;", "AutoScalingFormulaEvaluationError"),
        ("x = time() + 1;", "AutoScalingFormulaEvaluationError"),
        ("$PendingTasks = 1;", "AutoScalingFormulaEvaluationError"),
        ("x = 1;" * 101, "AutoScalingFormulaSyntaxError"),
    ],
)
def test_errors(text: str, code: str) -> None:
    with pytest.raises(FormulaError) as caught:
        evaluate(text, NOW, samples([3.0] if "* 5" in text else []), TARGETS)
    assert caught.value.code == code
