"""A question goes in, a trajectory comes out: tasks, prompts, tools, the loop, many loops at once.

Pure Python: knows neither weights nor worlds.
"""
