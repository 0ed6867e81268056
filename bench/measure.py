"""Rounds side by side in one run, and what they say: medians, ratios, and how far they strayed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Numbers = Mapping[str, float]
"""What one round of a contender gave, by name: photos a second, milliseconds, ..."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that does the work. `play` does it once, from start to stop."""

    name: str
    play: Callable[[], Numbers]


class Rounds:
    """What every round gave: for each contender and number, one value a round, in order."""

    def __init__(self, played: Mapping[str, Sequence[Numbers]]) -> None:
        self._played = played

    @property
    def contenders(self) -> Sequence[str]:
        return list(self._played)

    def of(self, contender: str, number: str) -> list[float]:
        return [numbers[number] for numbers in self._played[contender]]

    def ratios(self, contender: str, peer: str, number: str) -> list[float]:
        """Round by round, so that what slows the machine down for a while slows both sides down."""
        pairs = zip(self.of(contender, number), self.of(peer, number), strict=True)
        return [ours / theirs for ours, theirs in pairs]


def interleaved(
    contenders: Sequence[Contender], rounds: int, tell: Callable[[str], None] = lambda _: None
) -> Rounds:
    """Play every contender once a round; every other round backwards, so that nobody always goes first."""
    played: dict[str, list[Numbers]] = {each.name: [] for each in contenders}
    for number in range(rounds):
        for each in contenders if number % 2 == 0 else reversed(contenders):
            numbers = each.play()
            played[each.name].append(numbers)
            tell(f"round {number + 1}: {each.name}: {_listed(numbers)}")
    return Rounds(played)


@dataclass(frozen=True, slots=True)
class Goal:
    """The number that a line should reach: from below, or, if less is better, from above."""

    limit: float
    less: bool = False

    def is_met(self, value: float) -> bool:
        return value <= self.limit if self.less else value >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.less else '≥'} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table. `judged` is what the goal is about: a ratio a round, or our own number."""

    what: str
    unit: str
    ours: Sequence[float]
    peer: str = ""
    theirs: Sequence[float] = ()
    judged: Sequence[float]
    goal: Goal | None = None

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        return "met" if self.goal.is_met(median(self.judged)) else "missed"


def compared(
    rounds: Rounds,
    what: str,
    ours: str,
    peer: str,
    *,
    number: str,
    unit: str,
    goal: Goal | None = None,
) -> Line:
    """A line about a contender against another, by the ratio of their numbers."""
    return Line(
        what=what,
        unit=unit,
        ours=rounds.of(ours, number),
        peer=peer,
        theirs=rounds.of(peer, number),
        judged=rounds.ratios(ours, peer, number),
        goal=goal,
    )


def plain(
    rounds: Rounds, what: str, contender: str, *, number: str, unit: str, goal: Goal | None = None
) -> Line:
    """A line about one contender alone."""
    values = rounds.of(contender, number)
    return Line(what=what, unit=unit, ours=values, judged=values, goal=goal)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]


def _listed(numbers: Numbers) -> str:
    return ", ".join(f"{value:.4g} {name}" for name, value in numbers.items())
