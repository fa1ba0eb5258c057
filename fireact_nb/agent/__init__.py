"""A question goes in, a trajectory comes out: tasks, prompts, tools, the loop, many loops at once.

Pure Python: knows no weights; of worlds only the prompts that are worded for them.
"""

from .chat import Chat, Reply, Request
from .episode import Settings
from .journal import Journal
from .prompting import Prompt, load_prompt
from .rollouts import forecast, generate, successes
from .search import NORMAL, Condition, Search
from .sources import Source
from .tasks import Question
from .trajectory import Step, Trajectory, read_trajectories, unify, write_trajectories

__all__ = [
    "Chat", "Condition", "Journal", "NORMAL", "Prompt", "Question", "Reply", "Request", "Search",
    "Settings", "Source", "Step", "Trajectory", "forecast", "generate", "load_prompt",
    "read_trajectories", "successes", "unify", "write_trajectories",
]  # fmt: skip
