"""The tiny world: its encyclopedia, its questions, the pretraining text and the pretraining run."""
