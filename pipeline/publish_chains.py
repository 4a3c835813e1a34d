"""Join a fit's ensembles: samples with derived parameters, GetDist and ArviZ files, summary, checks."""

from __future__ import annotations

import argparse
import json

from cmbfit.inference.products import read_chain
from cmbfit.inference.publish import publish_fit
from cmbfit.io import publish_record
from cmbfit.likelihood.build import posterior_from_config
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.report.checks import write_checks
from cmbfit.report.fit_checks import fit_checks
from cmbfit.theory.select import theory_from_config
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, join, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--transfer", help="folder of the transfer expansion, for primordial models")
    parser.add_argument("--chains", nargs="+", required=True)
    for name in ("samples", "getdist-root", "arviz", "summary", "checks"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    theory = theory_from_config(args.fit, args.emulator, args.transfer)
    posterior = compile_if_possible(posterior_from_config(args.fit, theory))
    chains = [read_chain(path)[0] for path in args.chains]
    summary = publish_fit(
        posterior,
        args.fit,
        chains,
        samples=args.samples,
        getdist_root=args.getdist_root,
        arviz=args.arviz,
        summary=args.summary,
    )
    write_checks(args.checks, fit_checks(args.fit, summary))
    publish_record(args.samples, inputs=args.chains, settings=posterior.settings())


if __name__ == "__main__":
    run_stage(main)
