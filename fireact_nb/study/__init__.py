"""The paper's grid in the tiny world: run, and told beside the paper."""
