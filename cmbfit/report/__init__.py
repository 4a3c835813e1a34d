"""Checks, summary and the reviewer's page."""
