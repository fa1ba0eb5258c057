"""FireAct, hands-on: language-agent fine-tuning in small, readable rooms."""

__version__ = "0.1.0"
