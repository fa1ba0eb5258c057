"""A question goes in, a trajectory comes out: tasks, prompts, tools, the loop, many loops at once.

Pure Python: knows neither weights nor worlds.
"""

from .chat import Chat, Reply, Request
from .episode import Settings, play
from .journal import Journal
from .prompting import Prompt, load_prompt
from .rollouts import forecast, generate, successes
from .search import Search
from .tasks import Question
from .trajectory import (
    Step,
    Trajectory,
    parse_turn,
    read_trajectories,
    render_messages,
    unify,
    write_trajectories,
)

__all__ = [
    "Chat",
    "Journal",
    "Prompt",
    "Question",
    "Reply",
    "Request",
    "Search",
    "Settings",
    "Step",
    "Trajectory",
    "forecast",
    "generate",
    "load_prompt",
    "parse_turn",
    "play",
    "read_trajectories",
    "render_messages",
    "successes",
    "unify",
    "write_trajectories",
]
