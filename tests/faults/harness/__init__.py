"""A driver that keeps attacking a run: edits, kills, full disks, orphans; each end is held against a run in a clean folder."""
