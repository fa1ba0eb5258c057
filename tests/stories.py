"""What a teacher plays, in a few episodes: right early, right late, and wrong."""

from __future__ import annotations

from fireact_nb.agent.trajectory import Step, Trajectory


def _story(number: int, rounds: int, correct: bool = True, state: str = "finished") -> Trajectory:
    steps = [Step.of("I look.", "search", f"thing {n}", "Nothing.") for n in range(rounds - 1)]
    return Trajectory(
        f"t{number}",
        f"Who made thing {number}?",
        (*steps, Step.of("I know.", "finish", "Ann")),
        answer="Ann",
        gold="Ann",
        correct=correct,
        state=state,
    )


STORIES = [
    _story(0, 2),
    _story(1, 5),
    _story(2, 6),
    _story(3, 9),
    _story(4, 7, correct=False),
    _story(5, 3, correct=False, state="malformed"),
]
