"""A run's folder as a Workflow Run RO-Crate 0.5: what went in, what came out, by which code and settings.

The format is that of https://w3id.org/ro/wfrun/workflow (Leo et al. 2024, PLoS ONE 19, e0309210). Files stay
where they are: only ``ro-crate-metadata.json`` is written.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cmbfit.errors import DataError
from cmbfit.io import read_json, sha256_file, write_json
from cmbfit.provenance.citations import citations, plain_text, references
from cmbfit.provenance.graph import Graph

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

METADATA = "ro-crate-metadata.json"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_FORMATS = {
    ".h5": "application/x-hdf5", ".nc": "application/x-netcdf", ".npz": "application/zip", ".fits": "application/fits",
    ".bib": "text/x-bibtex", ".md": "text/markdown", ".paramnames": "text/plain", ".ranges": "text/plain",
    ".yaml": "application/yaml", ".rst": "text/x-rst", ".safetensors": "application/octet-stream",
}  # fmt: skip
"""What the system's table does not know everywhere."""
_LEFT_OUT = {"logs", "benchmarks", "checkpoints", "data"}
_LICENCE = "#terms"
_OPERATOR = "#operator"
_PYTHON = "https://www.python.org"


def _home(name: str) -> str:
    return _PYTHON if name == "python" else f"https://pypi.org/project/{name}/"


def _address(name: str, version: str) -> str:
    """Return the absolute identifier of one version of a package."""
    if name == "python":
        return f"{_PYTHON}/downloads/release/python-{version.replace('.', '')}/"
    return f"{_home(name)}{quote(version, safe='')}/"


def products_of(folder: str | Path) -> Iterator[Path]:
    """Yield a run's products: all files but logs, costs, checkpoints, copies of input data and the crate itself."""
    folder = Path(folder)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.is_file() and not hidden and relative.parts[0] not in _LEFT_OUT and str(relative) != METADATA:
            yield path


def _single(values: list[Any]) -> Any:
    """Return a list of one as its one: RO-Crate's JSON-LD has no singleton arrays."""
    return values[0] if len(values) == 1 else values


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) of a configuration's leaves; lists are leaves."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _add_inputs(crate: ROCrate, summary: Mapping[str, Any]) -> list[Entity]:
    """Add the data that the run read, by their registered name, size and sha256."""
    from rocrate.model import ContextEntity  # noqa: PLC0415 (rocrate is slow to import)

    out = []
    for entry in summary["provenance"]["data"]:
        properties = {
            "@type": "CreativeWork",
            "name": entry["name"],
            "description": entry["description"],
            "sha256": entry["sha256"],
            "contentSize": str(entry["bytes"]),
            "usageInfo": entry["licence"],
            "citation": _single(list(entry["citation"])),
        }
        out.append(crate.add(ContextEntity(crate, f"#data/{entry['name']}", properties=properties)))
    return out


def _add_settings(crate: ROCrate, settings: Mapping[str, Any]) -> tuple[list[Entity], list[Entity]]:
    """Add every key of the configuration as a parameter of the workflow and its value in this run."""
    from rocrate.model import ContextEntity  # noqa: PLC0415

    formal, values = [], []
    kinds = {bool: "Boolean", int: "Integer", float: "Float"}
    for path, value in _leaves(settings):
        kind = kinds.get(type(value), "Text")
        parameter = crate.add_formal_parameter(path, kind, identifier=f"#parameter/{path}")
        text = value if isinstance(value, str) else json.dumps(value)
        properties = {
            "@type": "PropertyValue",
            "name": path,
            "value": text,
            "exampleOfWork": {"@id": parameter.id},
        }
        formal.append(parameter)
        values.append(crate.add(ContextEntity(crate, f"#value/{path}", properties=properties)))
    return formal, values


def _add_products(crate: ROCrate, folder: Path, graph: Graph) -> list[Entity]:
    """Add every product with its size, sha256 and the rule that wrote it.

    What an earlier configuration made in the same folder stays there and is no product of this run.
    """
    out = []
    for path in products_of(folder):
        name = path.relative_to(folder).as_posix()
        if name.startswith("workflow/") or graph.left_over(name):
            continue
        origin = graph.origin(name)
        properties: dict[str, Any] = {
            "name": name,
            "contentSize": str(path.stat().st_size),
            "sha256": sha256_file(path),
            "encodingFormat": _format(path),
        }
        if name == "README.md":
            properties["about"] = {"@id": "./"}
        if origin is not None:
            properties["description"] = f"written by the rule {origin.rule}"
        out.append(crate.add_file(dest_path=name, properties=properties))
    return out


def _format(path: Path) -> str:
    known = _FORMATS.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return known or ("text/plain" if path.stat().st_size == 0 else "application/octet-stream")


def _add_software(crate: ROCrate, provenance: Mapping[str, Any]) -> list[Entity]:
    """Add Python and the packages, with their versions."""
    from rocrate.model import ContextEntity  # noqa: PLC0415

    versions = {"python": provenance["python"], "cmbfit": provenance["cmbfit"], **provenance["packages"]}
    return [
        crate.add(
            ContextEntity(
                crate,
                _address(name, version),
                properties={
                    "@type": "SoftwareApplication",
                    "name": name,
                    "version": version,
                    "url": _home(name),
                },
            )
        )
        for name, version in versions.items()
        if version
    ]


def _add_citations(crate: ROCrate, summary: Mapping[str, Any]) -> list[Entity]:
    """Add the papers that the run owes."""
    from rocrate.model import ContextEntity  # noqa: PLC0415

    out = []
    for cited in citations(summary):
        known = references().get(cited.key)
        fields = known.fields if known else {}
        address = (
            f"https://doi.org/{fields['doi']}" if "doi" in fields else f"https://arxiv.org/abs/{fields['eprint']}"
            if "eprint" in fields else f"#reference/{cited.key}"
        )  # fmt: skip
        name = plain_text(fields["title"]) if known else cited.words
        properties = {"@type": "ScholarlyArticle" if known else "CreativeWork", "name": name}
        out.append(crate.add(ContextEntity(crate, address, properties=properties)))
    return out


def _committed(crate: ROCrate, blinding: Mapping[str, Any]) -> Entity:
    """Return the commitment to a blinded run's secret: whoever opens it later must show what has this sha256."""
    from rocrate.model import ContextEntity  # noqa: PLC0415

    frozen = blinding["frozen"]
    properties = {
        "@type": "PropertyValue",
        "name": "blinding",
        "description": "sha256 of the secret by which the data were moved, and of what was frozen with it",
        "value": blinding["commitment"],
        "identifier": f"sha256 {frozen['sha256']} of shift, reference and criteria, frozen {frozen['time']}",
    }
    return crate.add(ContextEntity(crate, "#blinding", properties=properties))


def unblinding_entity(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return an unblinding as an entity of a crate: time, reason, criteria and the secret.

    Parameters
    ----------
    record : mapping
        As :func:`cmbfit.provenance.unblind.unblind` makes it.
    """
    met = [
        f"{row['criterion']}: {'met' if row['met'] else 'NOT met'} ({row['found']})"
        for row in record["criteria"]
    ]
    return {
        "@id": "#unblinding",
        "@type": "ActivateAction",
        "name": "unblinding" + (", forced with criteria unmet" if record["forced"] else ""),
        "endTime": record["time"],
        "description": record["reason"],
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "object": {"@id": "./"},
        "identifier": f"secret {record['secret']}, of sha256 {record['commitment']}",
        "result": _single(met),
    }


def add_unblinding(folder: str | Path, record: Mapping[str, Any]) -> bool:
    """Add an unblinding to the crate of a blinded run that stands; return whether there is one.

    What the run makes afterwards is another crate, which says it again.
    """
    path = Path(folder) / METADATA
    if not path.is_file():
        return False
    value = read_json(path)
    entity = unblinding_entity(record)
    graph = [x for x in value["@graph"] if x["@id"] != entity["@id"]]
    for x in graph:
        if x["@id"] == "./":
            mentions = x.get("mentions", [])
            mentions = mentions if isinstance(mentions, list) else [mentions]
            x["mentions"] = [m for m in mentions if m["@id"] != entity["@id"]] + [{"@id": entity["@id"]}]
    write_json(path, {**value, "@graph": [*graph, entity]})
    return True


def _operator(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return who answers for the run: a group or institute, as configured."""
    name = (
        settings["run"].get("author") or "a user of cmbfit whom the configuration (run.author) does not name"
    )
    return {"@type": "Organization", "name": name, "url": _home("cmbfit")}


def write_crate(folder: str | Path, summary: Mapping[str, Any], *, started: str, ended: str) -> None:
    """Write ``ro-crate-metadata.json`` of a run.

    Parameters
    ----------
    folder : str or Path
        The run's folder, with its products and ``workflow/Snakefile``.
    summary : mapping
        The run's summary.json.
    started, ended : str
        ISO 8601 times of the run.

    Raises
    ------
    DataError
        If the folder holds no ``workflow/Snakefile``.
    """
    from rocrate.model import ContextEntity  # noqa: PLC0415
    from rocrate.rocrate import ROCrate  # noqa: PLC0415

    folder = Path(folder)
    if not (folder / "workflow" / "Snakefile").is_file():
        raise DataError(
            f"{folder}: expected workflow/Snakefile; the workflow's rule write_crate puts it there"
        )
    provenance = summary["provenance"]
    settings, run = provenance["settings"], provenance["settings"]["run"]["name"]
    crate = ROCrate(version="1.1")
    # terms of schema.org that the context of RO-Crate 1.1 does not have yet
    crate.metadata.extra_terms |= {t: f"https://schema.org/{t}" for t in ("sha256", "usageInfo")}
    crate.name = f"cmbfit run {run}"
    crate.description = f"Products of the cmbfit workflow for the run {run}: {', '.join(f['title'] for f in summary['fits'].values())}"
    crate.datePublished = ended
    terms = crate.add(
        ContextEntity(
            crate,
            _LICENCE,
            properties={
                "@type": "CreativeWork",
                "name": "Terms of the input data",
                "description": "Products derive from the input data, whose terms (usageInfo of each) apply to them.",
            },
        )
    )
    crate.license = terms
    workflow = crate.add_workflow(
        dest_path="workflow/Snakefile",
        main=True,
        lang="snakemake",
        lang_version=provenance["packages"].get("snakemake"),
        properties={
            "name": "cmbfit",
            "description": "From CMB maps to the physics of the early universe",
            "encodingFormat": "text/x-snakemake",
            "url": _home("cmbfit"),
            "conformsTo": {"@id": _BIOSCHEMAS},
            "version": provenance["git"]["commit"] or provenance["cmbfit"],
        },
    )
    crate.add_file(dest_path="workflow/config.json", properties={"name": "complete configuration", "encodingFormat": "application/json"})  # fmt: skip
    crate.add_file(dest_path="workflow/code.json", properties={"name": "hash of the code by entry point", "encodingFormat": "application/json"})  # fmt: skip
    formal, values = _add_settings(crate, settings)
    workflow["input"] = formal
    workflow["softwareRequirements"] = _add_software(crate, provenance)
    action = crate.add_action(
        workflow,
        identifier="#run",
        object=[*_add_inputs(crate, summary), *values],
        result=_add_products(crate, folder, Graph(summary.get("rules", {}))),
        properties={"@type": "CreateAction", "name": f"Run of {run}", "startTime": started, "endTime": ended},
    )
    failed = sum(not c["pass"] for c in summary["checks"])
    action["actionStatus"] = "http://schema.org/CompletedActionStatus"
    action["description"] = f"{len(summary['checks'])} checks, {failed} failed"
    crate.root_dataset["mentions"] = action
    operator = crate.add(ContextEntity(crate, _OPERATOR, properties=_operator(settings)))
    action["agent"] = operator
    crate.root_dataset["author"] = crate.root_dataset["publisher"] = operator
    crate.root_dataset["citation"] = _add_citations(crate, summary)
    if blinding := summary.get("blinding"):
        crate.root_dataset.append_to("about", _committed(crate, blinding))
        if blinding["opened"] is not None:
            opened = unblinding_entity(blinding["opened"])
            crate.root_dataset.append_to(
                "mentions", crate.add(ContextEntity(crate, opened.pop("@id"), properties=opened))
            )
    profiles = [
        crate.add(
            ContextEntity(crate, uri, properties={"@type": "CreativeWork", "name": name, "version": version})
        )
        for uri, (name, version) in _PROFILES.items()
    ]
    crate.root_dataset.append_to("conformsTo", profiles)
    write_json(folder / METADATA, crate.metadata.generate())
