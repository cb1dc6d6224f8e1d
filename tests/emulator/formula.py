"""Autoscale formulas: the part of the service's language that pools of queued work use.

Statements are assignments ended by semicolons. Values are numbers, times, intervals, sample vectors and the names of
deallocation options. The ternary evaluates only the branch that it takes. Comments run from // to the line's end.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

INTERVALS = {
    "TimeInterval_Zero": timedelta(0),
    "TimeInterval_100ns": timedelta(microseconds=0.1),
    "TimeInterval_Microsecond": timedelta(microseconds=1),
    "TimeInterval_Millisecond": timedelta(milliseconds=1),
    "TimeInterval_Second": timedelta(seconds=1),
    "TimeInterval_Minute": timedelta(minutes=1),
    "TimeInterval_Hour": timedelta(hours=1),
    "TimeInterval_Day": timedelta(days=1),
    "TimeInterval_Week": timedelta(weeks=1),
    "TimeInterval_Year": timedelta(days=365),
}
OPTIONS = ("requeue", "terminate", "taskcompletion", "retaineddata")
ASSIGNABLE = ("$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption")
SAMPLE_SECONDS = 30
SHARE = 70.0
"""Percent of a window's samples that must be there unless GetSample says otherwise."""
TOKEN = re.compile(
    r"\s*(?://[^\n]*\n?\s*)*(?:(?P<number>\d+\.?\d*|\.\d+)|(?P<text>\"[^\"]*\")|(?P<name>\$?[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|==|!=|&&|\|\||[-+*/<>!?:;=(),.\[\]]))"
)
BLANK = re.compile(r"\s*(?://[^\n]*\s*)*")
LEVELS = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/"))


class FormulaError(Exception):
    """Why a formula has no result: `code` is what autoScaleRun.error.code carries."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class Samples:
    """What the service measured of one variable: (time, value) pairs, oldest first, one every 30 seconds."""

    taken: list[tuple[datetime, float]] = field(default_factory=list)

    def window(self, now: datetime, span: timedelta) -> tuple[list[float], float]:
        """The values of the last `span`, newest first, and the share (0..100) of expected samples that exist."""
        values = [value for when, value in self.taken if now - span <= when <= now]
        expected = max(1, int(span.total_seconds() // SAMPLE_SECONDS))
        return values[::-1], min(100.0, 100.0 * len(values) / expected)


@dataclass
class _Parser:
    """Evaluates while it reads; a branch that is not taken is read without being evaluated."""

    tokens: list[tuple[str, str, int]]
    variables: dict[str, Any]
    samples: Mapping[str, Samples]
    now: datetime
    at: int = 0
    live: bool = True

    def run(self) -> None:
        statements = 0
        while self.at < len(self.tokens):
            kind, name, _ = self.tokens[self.at]
            if kind != "name":
                raise self.syntax("a variable name")
            if name.startswith("$") and name not in ASSIGNABLE:
                raise FormulaError("AutoScalingFormulaEvaluationError", f"{name} is a read-only variable")
            self.at += 1
            self.expect("=")
            self.variables[name] = self.ternary()
            self.expect(";")
            statements += 1
        if statements > 100:
            raise FormulaError("AutoScalingFormulaSyntaxError", "more than 100 statements")

    def syntax(self, wanted: str) -> FormulaError:
        found, where = (self.tokens[self.at][1:]) if self.at < len(self.tokens) else ("the end", 0)
        return FormulaError("AutoScalingFormulaSyntaxError", f"expected {wanted} but found {found} at {where}")

    def peek(self, *signs: str) -> str | None:
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "sign" and self.tokens[self.at][1] in signs:
            return self.tokens[self.at][1]
        return None

    def accept(self, *signs: str) -> str | None:
        sign = self.peek(*signs)
        self.at += sign is not None
        return sign

    def expect(self, sign: str) -> None:
        if self.accept(sign) is None:
            raise self.syntax(sign)

    def branch(self, taken: bool, read: Callable[[], Any]) -> Any:
        live, self.live = self.live, self.live and taken
        try:
            return read()
        finally:
            self.live = live

    def ternary(self) -> Any:
        value = self.binary(0)
        if not self.accept("?"):
            return value
        truth = self.live and number(value) != 0
        first = self.branch(truth, self.ternary)
        self.expect(":")
        second = self.branch(not truth, self.ternary)
        return first if truth else second

    def binary(self, level: int) -> Any:
        if level == len(LEVELS):
            return self.unary()
        value = self.binary(level + 1)
        while sign := self.accept(*LEVELS[level]):
            right = self.binary(level + 1)
            if self.live:
                value = operate(sign, value, right)
        return value

    def unary(self) -> Any:
        if sign := self.accept("-", "!"):
            value = self.unary()
            return value if not self.live else (-value if sign == "-" else float(number(value) == 0))
        value = self.primary()
        while self.accept("."):
            value = self.method(value)
        return value

    def primary(self) -> Any:
        if self.accept("("):
            value = self.ternary()
            self.expect(")")
            return value
        if self.at == len(self.tokens) or self.tokens[self.at][0] == "sign":
            raise self.syntax("a value")
        kind, text, _ = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return float(text)
        if kind == "text":
            return text[1:-1]
        if self.peek("("):
            arguments = self.arguments()
            return self.call(text, arguments) if self.live else 0.0
        return self.lookup(text) if self.live else 0.0

    def lookup(self, name: str) -> Any:
        if name in self.variables:
            return self.variables[name]
        if name in INTERVALS:
            return INTERVALS[name]
        if name in OPTIONS:
            return name
        if name in self.samples:
            return self.samples[name]
        raise FormulaError("AutoScalingFormulaEvaluationError", f"{name} is not defined")

    def arguments(self) -> list[Any]:
        self.expect("(")
        values: list[Any] = []
        while not self.accept(")"):
            values.append(self.ternary())
            if not self.peek(")"):
                self.expect(",")
        return values

    def call(self, name: str, arguments: list[Any]) -> Any:
        if name == "time":
            return parse_time(arguments[0]) if arguments else self.now
        if name not in FUNCTIONS:
            raise FormulaError("AutoScalingFormulaEvaluationError", f"{name} is not a function")
        flat = [number(value) for argument in arguments for value in vector(argument)]
        if not flat:
            raise FormulaError("AutoScalingFormulaEvaluationError", f"{name} of an empty vector")
        return float(FUNCTIONS[name](flat))

    def method(self, value: Any) -> Any:
        name = self.tokens[self.at][1] if self.at < len(self.tokens) else ""
        self.at += 1
        arguments = self.arguments()
        if not self.live:
            return 0.0
        if not isinstance(value, Samples) or name not in ("GetSample", "GetSamplePercent") or not arguments:
            raise FormulaError("AutoScalingFormulaEvaluationError", f"{name} cannot be asked of {value}")
        if not isinstance(arguments[0], timedelta):
            if name == "GetSamplePercent":
                raise FormulaError("AutoScalingFormulaEvaluationError", "GetSamplePercent needs an interval")
            count = int(number(arguments[0]))
            newest = [sample for _, sample in value.taken[-count:]][::-1]
            if len(newest) < count:
                raise insufficient(name, 100.0, 100.0 * len(newest) / max(1, count))
            return newest
        values, percent = value.window(self.now, arguments[0])
        if name == "GetSamplePercent":
            return percent
        wanted = number(arguments[-1]) if len(arguments) > 1 and not isinstance(arguments[-1], timedelta) else SHARE
        if not values or percent < wanted:
            raise insufficient(name, wanted, percent)
        return values


FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    "avg": statistics.fmean,
    "max": max,
    "min": min,
    "sum": sum,
    "len": len,
    "med": statistics.median,
    "ceil": lambda values: -(-values[0] // 1),
    "floor": lambda values: values[0] // 1,
    "round": lambda values: float(round(values[0])),
}


def insufficient(name: str, wanted: float, received: float) -> FormulaError:
    message = f"{name} has insufficient sample data: wanted {wanted:.0f}%, received {received:.0f}%"
    return FormulaError("InsufficientSampleData", message)


def parse_time(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        raise FormulaError("AutoScalingFormulaEvaluationError", f"{text} is not a time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def vector(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def number(value: Any) -> float:
    """A number; a vector stands for its average, samples for their newest."""
    if isinstance(value, Samples):
        if not value.taken:
            raise insufficient("the variable", 100.0, 0.0)
        return value.taken[-1][1]
    if isinstance(value, list):
        return statistics.fmean(value)
    if isinstance(value, (int, float)):
        return float(value)
    raise FormulaError("AutoScalingFormulaEvaluationError", f"{value} is not a number")


def operate(sign: str, left: Any, right: Any) -> Any:
    """Numbers with numbers; intervals and times as documented: time - time, time +- interval, interval * number."""
    timely = (datetime, timedelta)
    if not isinstance(left, timely) and not isinstance(right, timely) and not (isinstance(left, str) and sign in "==!="):
        left, right = number(left), number(right)
    try:
        match sign:
            case "||" | "&&":
                return float(bool(left or right) if sign == "||" else bool(left and right))
            case "==" | "!=":
                return float((left == right) == (sign == "=="))
            case "<" | "<=" | ">" | ">=":
                return float({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign])
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
        return left / right
    except (TypeError, ZeroDivisionError, OverflowError) as error:
        raise FormulaError("AutoScalingFormulaEvaluationError", str(error)) from None


def evaluate(
    formula: str, now: datetime, samples: Mapping[str, Samples], values: Mapping[str, float | str]
) -> dict[str, Any]:
    """Run the formula; the result holds every variable that it left behind, targets as numbers >= 0.

    `samples`: what GetSample may be asked of ($PendingTasks and its like). `values`: the targets before.
    Raises FormulaError with the service's code: AutoScalingFormulaSyntaxError, InsufficientSampleData, ...
    """
    tokens: list[tuple[str, str, int]] = []
    at = 0
    while not BLANK.fullmatch(formula, at):
        found = TOKEN.match(formula, at)
        if found is None or found.lastgroup is None:
            raise FormulaError("AutoScalingFormulaSyntaxError", f"unexpected character at {at}: {formula[at : at + 10]!r}")
        tokens.append((found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
        at = found.end()
    parser = _Parser(tokens, dict(values), samples, now)
    try:
        parser.run()
    except RecursionError:
        raise FormulaError("AutoScalingFormulaSyntaxError", "too many brackets within brackets") from None
    return parser.variables
