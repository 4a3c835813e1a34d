"""Unblinding: the frozen criteria against a finished run, and the record that opens its secret."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cmbfit.errors import DataError
from cmbfit.fit.secret import Secret, opening, read_secret, record_opening
from cmbfit.inference.goodness import goodness
from cmbfit.io import read_json, reading, sha256_file, write_json, write_text
from cmbfit.provenance.crate import METADATA, add_unblinding

log = logging.getLogger(__name__)

RECORD = "unblinding.json"
LOG = "logs/unblinding.log"


def criteria_met(summary: Mapping[str, Any], criteria: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each criterion with whether a finished run meets it, and what was found.

    Parameters
    ----------
    summary : mapping
        The run's summary.json.
    criteria : mapping
        ``checks``: patterns of ``SOURCE`` or ``SOURCE: NAME``, of which each must be there and all must pass; ``goodness``: the
        least probability, on either side, of each fit's chi2.
    """
    return [*_checks(summary["checks"], criteria.get("checks", ())), *_goodness(summary["fits"], criteria)]


def _checks(rows: list[Mapping[str, Any]], patterns: list[str]) -> Iterator[dict[str, Any]]:
    for pattern in patterns:
        mine = [x for x in rows if any(fnmatch.fnmatchcase(n, pattern) for n in (x["source"], _name(x)))]
        failed = [_name(x) for x in mine if not x["pass"]]
        untested = [_name(x) for x in mine if x["value"] is None]
        found = f"{len(mine) - len(failed)} of {len(mine)} checks passed"
        found += f"; failed: {', '.join(failed)}" if failed else ""
        found += f"; not tested: {', '.join(untested)}" if untested else ""
        yield {"criterion": f"checks {pattern}", "met": bool(mine) and not failed, "found": found}


def _name(check: Mapping[str, Any]) -> str:
    return f"{check['source']}: {check['name']}"


def _goodness(fits: Mapping[str, Any], criteria: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if (least := criteria.get("goodness")) is None:
        return
    for name, fit in fits.items():
        good = goodness(fit)
        if good is None:
            yield {
                "criterion": f"goodness of {name}",
                "met": False,
                "found": "no data set has a chi2 of degrees of freedom",
            }
            continue
        pte = good["pte"]
        found = f"chi2 {good['chi2']:.2f} of {good['n']} values, PTE {pte:.4f}, asked for {least:g} to {1 - least:g}"
        yield {"criterion": f"goodness of {name}", "met": least <= pte <= 1 - least, "found": found}


def unblind(folder: str | Path, reason: str, *, force: bool = False) -> dict[str, Any]:
    """Open the secret of a finished, blinded run: its configuration makes unblinded products from now on.

    Parameters
    ----------
    folder : path
        ``results/NAME`` or ``fits/NAME``.
    reason : str
        Why now; recorded.
    force : bool
        Although criteria are unmet; recorded.

    Returns
    -------
    dict
        The record: ``time``, ``reason``, ``forced``, ``criteria``, ``commitment``, ``secret``, ``frozen`` (section, sha256, time) and
        the sha256 of the ``products`` that were looked at.

    Raises
    ------
    DataError
        If the run is not blinded or open already, its secret is another one or not there, or criteria are unmet.
    """
    folder = Path(folder)
    path = folder / "summary.json"
    if not path.is_file():
        raise DataError(
            f"{folder}: no summary.json; expected the folder of a finished run (results/NAME, fits/NAME)"
        )
    if not reason.strip():
        raise DataError("--reason: expected why the run is unblinded now, in words")
    with reading(path, "the summary of a run"):
        summary = read_json(path)
        blinding = summary.get("blinding")
        if blinding is None:
            raise DataError(f"{folder}: this run is not blinded (its configuration has no run.blind)")
        name = str(blinding["secret"])
        criteria = blinding["criteria"]
    _refuse_opened(folder, name)
    secret = read_secret(name)
    if secret.commitment != blinding["commitment"]:
        raise DataError(
            f"{folder} was blinded with a secret of sha256 {blinding['commitment'][:12]}; the secret {name} here has "
            f"{secret.commitment[:12]}"
        )
    if secret.frozen["sha256"] != blinding["frozen"]["sha256"]:
        raise DataError(
            f"{folder}: its criteria are not those that were frozen with the secret on {secret.frozen['time']}"
        )
    rows = [*criteria_met(summary, criteria), _altered(folder)]
    unmet = [row for row in rows if not row["met"]]
    if unmet and not force:
        raise DataError(
            f"{folder}: not unblinded, {len(unmet)} of {len(rows)} criteria are unmet: "
            + "; ".join(f"{row['criterion']}: {row['found']}" for row in unmet)
            + ". Mend the analysis, or --force with the reason, which is recorded"
        )
    record = _record(folder, secret, reason, rows, forced=bool(unmet))
    # the secret's own record last: what opens the run is there only when the rest is
    write_json(folder / RECORD, record)
    _append(folder / LOG, record)
    if not add_unblinding(folder, record):
        log.warning(
            "%s: no %s there: the crate is written by the workflow, when the run is made again",
            folder,
            METADATA,
        )
    record_opening(name, record)
    return record


def _refuse_opened(folder: Path, name: str) -> None:
    if (before := opening(name)) is not None:
        raise DataError(
            f"{folder}: the secret {name} was opened on {before['time']} ({before['reason']}); run the same configuration again "
            "for unblinded products"
        )


def _altered(folder: Path) -> dict[str, Any]:
    """Return whether the files of checks are those that the summary was made of."""
    summary = read_json(folder / "summary.json")
    names = {check["file"] for check in summary["checks"]}
    recorded = summary["provenance"].get("inputs", {})
    known = {name: next((s for p, s in recorded.items() if p.endswith(name)), None) for name in names}
    wrong = sorted(
        name for name, s in known.items() if not (folder / name).is_file() or sha256_file(folder / name) != s
    )
    found = f"other than recorded: {', '.join(wrong)}" if wrong else f"{len(names)} files as recorded"
    return {"criterion": "files of checks unaltered", "met": not wrong, "found": found}


def _record(
    folder: Path, secret: Secret, reason: str, rows: list[dict[str, Any]], *, forced: bool
) -> dict[str, Any]:
    looked = ["summary.json", *sorted({x["file"] for x in read_json(folder / "summary.json")["checks"]})]
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": reason.strip(),
        "forced": forced,
        "criteria": rows,
        "frozen": dict(secret.frozen),
        "commitment": secret.commitment,
        "secret": secret.text,
        "products": {name: sha256_file(folder / name) for name in looked if (folder / name).is_file()},
    }


def _append(path: Path, record: Mapping[str, Any]) -> None:
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = [
        f"{record['time']} unblinded{' BY FORCE' if record['forced'] else ''}: {record['reason']}",
        *(
            f"  {row['criterion']}: {'met' if row['met'] else 'NOT MET'}, {row['found']}"
            for row in record["criteria"]
        ),
        f"  frozen {record['frozen']['time']}, sha256 {record['frozen']['sha256']}",
        f"  secret {record['secret']}, sha256 {record['commitment']}",
    ]
    write_text(path, before + "\n".join(lines) + "\n")
