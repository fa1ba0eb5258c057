"""The real questions and the authors' released files."""
