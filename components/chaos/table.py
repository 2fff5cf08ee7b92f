"""Kept results as the table in docs/reliability.md, which quotes nothing else."""

from collections.abc import Iterable, Sequence

from components.chaos.results import ChaosResult, Percentiles

COLUMNS = (
    "scenario",
    "seed",
    "rounds",
    "violations",
    "reads p50 / max",
    "effects p50 / max",
    "inputs",
    "effects",
    "facts",
    "requests",
    "round",
)
NUMBERS_FROM = 1
"""The first column that is aligned to the right."""


def markdown(results: Sequence[ChaosResult], lacking: Sequence[str] = ()) -> str:
    """Markdown: a row for each result, the sums below. Times are seconds; a round's is the median.
    Under the table are the commit (more than one: each scenario's), rounds that were not played to
    their end, and ``lacking``: why other results are not in it."""
    rules = ["---" if at < NUMBERS_FROM else "---:" for at in range(len(COLUMNS))]
    lines = [_line(COLUMNS), _line(rules), *(_line(_cells(result)) for result in results)]
    checked = [result.checked for result in results]
    counts = (
        sum(one.inputs for one in checked),
        sum(one.effects for one in checked),
        sum(one.facts for one in checked),
        sum(one.requests for one in checked),
    )
    rounds = sum(result.rounds for result in results)
    found = sum(sum(result.violations.values()) for result in results)
    sums = ["all", "", f"{rounds}", f"{found}", "", "", *(f"{count:,}" for count in counts), ""]
    lines.append(_line(sums))
    commits = _commits(results)
    unplayed = [f"- {result.scenario}: {why}" for result in results for why in result.not_played]
    return "\n".join(
        [
            *lines,
            *(["", *commits] if commits else []),
            *(["", "Not played:", "", *unplayed] if unplayed else []),
            *(["", "Not whole:", "", *(f"- {why}" for why in lacking)] if lacking else []),
        ]
    )


def _commits(results: Sequence[ChaosResult]) -> list[str]:
    known = {result.commit or "unknown" for result in results}
    if len(known) == 1:
        return [f"Commit: {known.pop()}"]
    return [f"- {result.scenario}: commit {result.commit or 'unknown'}" for result in results]


def _cells(result: ChaosResult) -> list[str]:
    checked, round_s = result.checked, result.round_s.p50
    return [
        result.scenario,
        str(result.seed),
        str(result.rounds),
        str(sum(result.violations.values())),
        _times(result.unowned_s.reads),
        _times(result.unowned_s.effects),
        *(f"{n:,}" for n in (checked.inputs, checked.effects, checked.facts, checked.requests)),
        "-" if round_s is None else f"{round_s:.0f}",
    ]


def _times(seconds: Percentiles) -> str:
    if seconds.p50 is None or seconds.max is None:
        return "-"
    return f"{seconds.p50:.2f} / {seconds.max:.2f}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
