"""Entry points of the Snakemake rules: one module a stage, no science in them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
