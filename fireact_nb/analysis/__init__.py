"""Rows in, numbers and pictures out; knows neither models nor torch."""
