"""Entry points of the Snakemake rules: one module a rule, no science in them."""
