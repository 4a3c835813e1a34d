"""Figures: functions data -> Figure, without file access."""
