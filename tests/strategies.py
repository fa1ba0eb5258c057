"""What hypothesis draws: any text, turns, observations, steps and trajectories."""

from __future__ import annotations

from hypothesis import strategies as st

from fireact_nb.agent.trajectory import STATES, Step, Trajectory, clean_observation, cut_turn

# Arbitrary unicode, mixed with the pieces that could be mistaken for structure.
PIECES = [
    *("Thought: ", "Action: ", "Action 2:", "Observation: ", "Observation", "Answer: "),
    *("search[", "finish[", "search(", "finish", "searching", "]", "[", ")", "(", "[[a]", "[ſ]"),
    *("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\t", " ", "\xa0"),
    *("<|im_end|>", "<|user|>", "<|", "</s>", "<s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
]
ANY = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=16).map("".join)
TURNS = ANY.map(cut_turn)
OBSERVATIONS = ANY.map(clean_observation)
STEPS = st.builds(
    lambda rounds, last: (*rounds, last),
    st.lists(st.builds(Step, TURNS, OBSERVATIONS), max_size=5),
    st.builds(Step, TURNS, st.none() | OBSERVATIONS),
) | st.just(())
TRAJECTORIES = st.builds(
    Trajectory,
    question_id=st.text(max_size=5),
    question=ANY,
    steps=STEPS,
    method=st.sampled_from(["io", "cot", "react", "reflexion", "fireact"]),
    answer=st.none() | st.text(),
    gold=st.none() | st.text(),
    correct=st.none() | st.booleans(),
    state=st.sampled_from(STATES),
    sample=st.integers(0, 9),
    seconds=st.floats(0, 1e6),
    meta=st.dictionaries(st.text(), st.none() | st.booleans() | st.text() | st.integers()),
)
