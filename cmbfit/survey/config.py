"""The section `maps` of a configuration: one map a band, or the fields, templates, channels and masks of a survey."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cmbfit.data import load_registry
from cmbfit.errors import ConfigError, Problems, at, named

ALL = "all"
"""The name of the only split of a band that has none."""

CAR_WINDOW, NO_WINDOW = "car", "none"
"""In place of a file: the window of order 0 of the field's CAR grid, or none where it was taken out of the maps."""


@dataclass(frozen=True)
class Band:
    """A field or a template.

    Attributes
    ----------
    name : str
    spec : mapping
        Its section of the configuration.
    declared : mapping
        What the headers do not say: the band's own `declare`, or that of all maps.
    """

    name: str
    spec: Mapping[str, Any]
    declared: Mapping[str, Any]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.spec.get("splits", (ALL,)))

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of the detectors that are joined."""
        return tuple(self.spec["detectors"])

    @property
    def joins(self) -> tuple[str, ...]:
        """Names of the channels that this field is made of; none when it has maps of its own."""
        return tuple(self.spec.get("join", ()))

    def maps(self, split: str) -> list[str]:
        """Return the registered map of each detector for one split."""
        return [self.map_of(split, d) for d in self.detectors]

    def map_of(self, split: str, detector: str) -> str:
        """Return the registered map of a detector for one split."""
        return self._named(self.spec["maps"], split, detector)

    def weights(self, split: str) -> list[str]:
        """Return the registered weights of each detector for one split; none where they are in the maps."""
        if "weights" not in self.spec:
            return []
        return [self._named(self.spec["weights"], split, d) for d in self.detectors]

    @staticmethod
    def _named(pattern: str, split: str, detector: str) -> str:
        # not str.format: a configuration's text is no format of its own
        parts = {"split": split, "detector": detector}
        return re.sub(r"\{(split|detector)\}", lambda m: parts[m[1]], pattern)

    def split_of(self, split: str) -> str:
        """Return this band's split that belongs to another band's: its own of that name, or its only one."""
        if split in self.splits:
            return split
        if len(self.splits) != 1:
            raise ConfigError(f"maps: {self.name} has no split {split!r}, only {', '.join(self.splits)}")
        return self.splits[0]

    def split_file(self, split: str) -> str:
        """Return the prepared map of this band that belongs to a split."""
        return f"<results>/maps/{self.name}.{self.split_of(split)}.fits"

    def channel_file(self, split: str) -> str:
        """Return the full-sky coefficients of this channel that belong to a split."""
        return f"<results>/alms/channels/{self.name}.{self.split_of(split)}.h5"

    @property
    def beams(self) -> list[dict[str, Any]]:
        """Beam of each detector: the registered `file`, and its `columns`, the `member` and `hdus` of an archive's FITS file."""
        out = []
        for detector in self.spec["detectors"].values():
            beam = detector["beam"]
            out.append({"file": beam} if isinstance(beam, str) else dict(beam))
        return out

    def file_places(self) -> Iterator[tuple[str, str]]:
        """Yield all registered files of this band, each with its place below the band."""
        for split in self.splits:
            yield from (("maps", name) for name in self.maps(split))
            yield from (("weights", name) for name in self.weights(split))
        for (name, detector), beam in zip(self.spec["detectors"].items(), self.beams, strict=True):
            yield f"detectors.{name}.beam{'' if isinstance(detector['beam'], str) else '.file'}", beam["file"]
        if "bandpass" in self.spec:
            yield "bandpass", self.spec["bandpass"].partition("[")[0]


class Survey:
    """The many-map part of a configuration.

    Parameters
    ----------
    maps : mapping
        The configuration's section `maps`, with `fields`.
    """

    def __init__(self, maps: Mapping[str, Any]) -> None:
        def bands(section: str) -> dict[str, Band]:
            declared = maps.get("declare", {})
            return {
                name: Band(name, spec, spec.get("declare", declared))
                for name, spec in maps.get(section, {}).items()
            }

        self.fields, self.templates = bands("fields"), bands("templates")
        self.differences, self.channels = bands("differences"), bands("channels")
        self.sections = {
            "fields": self.fields,
            "templates": self.templates,
            "differences": self.differences,
            "channels": self.channels,
        }
        self.bands = {name: band for bands in self.sections.values() for name, band in bands.items()}
        self.joined = {name: band for name, band in self.bands.items() if band.joins}
        self.observed = {name: band for name, band in self.bands.items() if not band.joins}
        self.masked = {**self.fields, **self.differences}
        self.masks: Mapping[str, Mapping[str, Any]] = maps.get("masks", {})
        self.cleaning: Mapping[str, Any] = maps.get("cleaning", {"fields": [], "templates": []})
        self.pixel_window: str = maps["pixel_window"]
        self._check()

    def _check(self) -> None:
        """Raise :class:`ConfigError` with everything that does not fit together."""
        wrong = Problems()
        with wrong.part():
            if len(self.bands) != sum(map(len, self.sections.values())):
                raise ConfigError("maps: two of fields, templates, channels and differences have one name")
        for section, bands in self.sections.items():
            for name, band in bands.items():
                with wrong.part():
                    check_unit(f"maps.{section}.{name}", band.spec, band.spec.get("frequency_ghz"))
        for name, band in self.masked.items():
            where = f"maps.{'fields' if name in self.fields else 'differences'}.{name}"
            for key in ("mask", "mask_p"):
                if key in band.spec:
                    with wrong.part():
                        named(self.masks, band.spec[key], f"{where}.{key}", "mask")
            for channel in band.joins:
                with wrong.part():
                    _same_splits(band, named(self.channels, channel, f"{where}.join", "channel"))
        self._check_windows(wrong)
        self._check_cleaning(wrong)
        wrong.stop()

    def _check_windows(self, wrong: Problems) -> None:
        """Refuse CAR maps where only HEALPix maps are known."""
        for section in ("templates", "channels"):
            for name in self.sections[section]:
                with wrong.part():
                    if self.pixel_window_of(name) == CAR_WINDOW:
                        raise ConfigError(
                            f"maps.{section}.{name}.pixel_window: car: CAR maps are for fields of their own; templates and "
                            "channels that are joined are HEALPix maps"
                        )
        for name in self.cleaning["fields"]:
            with wrong.part():
                if name in self.observed and self.pixel_window_of(name) == CAR_WINDOW:
                    raise ConfigError(
                        f"maps.cleaning.fields: {name} has CAR maps (pixel_window: car), and templates are taken off HEALPix maps alone"
                    )

    def _check_cleaning(self, wrong: Problems) -> None:
        fields, templates = self.cleaning["fields"], self.cleaning["templates"]
        for name in fields:
            with wrong.part():
                named(self.fields, name, "maps.cleaning.fields", "field")
        for name in templates:
            with wrong.part():
                template = named(self.templates, name, "maps.cleaning.templates", "template")
                for f in self.fields.keys() & set(fields):
                    _same_splits(self.fields[f], template)
        if fields:
            start, end = self.cleaning["window"]
            least = 3 * self.cleaning["nside"]
            with wrong.part():
                if not least <= start < end:
                    raise ConfigError(
                        f"maps.cleaning.window: [{start}, {end}], expected 3 nside = {least} <= start < end"
                    )

    def mask_of(self, field: str) -> str:
        """Return the name of a field's mask of T."""
        return str(self.masked[field].spec["mask"])

    def mask_p_of(self, field: str) -> str | None:
        """Return the name of a field's mask of Q and U; None where it is that of T."""
        name = self.masked[field].spec.get("mask_p")
        return None if name in {None, self.mask_of(field)} else str(name)

    def masks_of(self, field: str) -> list[str]:
        """Return the names of a field's masks, of T first."""
        mask_p = self.mask_p_of(field)
        return [self.mask_of(field), *([] if mask_p is None else [mask_p])]

    def templates_of(self, field: str) -> list[str]:
        """Return the templates that a field is cleaned with."""
        return list(self.cleaning["templates"]) if field in self.cleaning["fields"] else []

    def pixel_window_of(self, band: str) -> str:
        """Return the pixel window of a band's maps: a registered file, "car" or "none"."""
        return str(self.bands[band].spec.get("pixel_window", self.pixel_window))

    def window_file(self, band: str) -> str | None:
        """Return the registered file of a band's pixel window; None where there is none."""
        found = self.pixel_window_of(band)
        return None if found in {CAR_WINDOW, NO_WINDOW} else found

    def window_mask(self, band: str) -> str | None:
        """Return the prepared mask under which the window of a CAR grid is taken; None of other maps."""
        return (
            f"<results>/maps/mask_{self.mask_of(band)}.fits"
            if self.pixel_window_of(band) == CAR_WINDOW
            else None
        )

    def split_files(self, band: str, template: str | None = None) -> list[str]:
        """Return the prepared splits of a band, or those of its template that belong to each of them."""
        source = self.bands[template or band]
        return [source.split_file(s) for s in self.bands[band].splits]

    def sky_files(self, band: str, template: str | None = None) -> list[str]:
        """Return the low-multipole coefficients that belong to :meth:`split_files`."""
        names = [f.rsplit("/", maxsplit=1)[-1] for f in self.split_files(band, template)]
        return [f"<results>/alms/sky/{n.removesuffix('.fits')}.h5" for n in names]

    def field_spec(self, field: str) -> dict[str, Any]:
        """Return where the files of a field lie, as :class:`cmbfit.survey.fields.FieldFiles` takes them."""
        splits, templates = self.masked[field].splits, self.templates_of(field)
        spec: dict[str, Any] = {
            "name": field,
            "splits": self.split_files(field),
            "alms": [f"<results>/alms/{field}.{s}.h5" for s in splits],
            "stated_noise": not self.masked[field].joins,
            "mask": f"<results>/maps/mask_{self.mask_of(field)}.fits",
            "beam": f"<results>/maps/{field}.beam.txt",
            "templates": [[f"<results>/alms/{field}.{s}.{t}.h5" for s in splits] for t in templates],
        }
        if mask_p := self.mask_p_of(field):
            spec["mask_p"] = f"<results>/maps/mask_{mask_p}.fits"
        if survey := self.masked[field].spec.get("survey"):
            spec["survey"] = survey
        if templates:
            spec["coefficients"] = f"<results>/maps/{field}.templates.json"
        return spec

    def field_inputs(self, field: str) -> list[str]:
        """Return all files of a field."""
        spec = self.field_spec(field)
        files = [*spec["splits"], *spec["alms"], spec["mask"], spec["beam"]]
        files += [spec["mask_p"]] if "mask_p" in spec else []
        files += [f for row in spec["templates"] for f in row]
        return files + ([spec["coefficients"]] if "coefficients" in spec else [])

    def template_spec(self, band: str, template: str | None = None) -> dict[str, Any]:
        """Return where the files of a band or of its template lie, as pipeline.fit_templates takes them."""
        name = template or band
        spec: dict[str, Any] = {
            "name": name,
            "splits": list(dict.fromkeys(self.split_files(band, template))),
            "alms": list(dict.fromkeys(self.sky_files(band, template))),
            "beam": f"<results>/maps/{name}.beam.txt",
        }
        if template:
            section = self.templates[template].spec
            spec |= {"has_cmb": section["has_cmb"], "noise_uk_arcmin": section.get("noise_uk_arcmin")}
        return spec

    def file_places(self) -> Iterator[tuple[str, str]]:
        """Yield every registered file that the maps need, with its place in the configuration."""
        words = {CAR_WINDOW, NO_WINDOW}
        if self.pixel_window not in words and any(
            "pixel_window" not in b.spec for b in self.observed.values()
        ):
            yield "maps.pixel_window", self.pixel_window
        for section, bands in self.sections.items():
            for name, band in bands.items():
                where = f"maps.{section}.{name}"
                if band.spec.get("pixel_window", NO_WINDOW) not in words:
                    yield f"{where}.pixel_window", band.spec["pixel_window"]
                if not band.joins:
                    yield from ((f"{where}.{place}", file) for place, file in band.file_places())
        for name, mask in self.masks.items():
            yield from ((f"maps.masks.{name}.files", file) for file in mask.get("files", []))

    @property
    def files(self) -> list[str]:
        """Every registered file that the maps need, once each."""
        return list(dict.fromkeys(name for _, name in self.file_places()))


def check_unit(where: str, section: Mapping[str, Any], frequency_ghz: float | None) -> None:
    """Raise :class:`~cmbfit.errors.MapError`, naming the place, for a declared unit that is none of a map's."""
    unit = section.get("declare", {}).get("unit")
    if unit is not None:
        from cmbfit.sky.units import factor_to_uk_cmb  # noqa: PLC0415 (loads healpy, and few configurations need it)

        with at(f"{where}.declare.unit"):
            factor_to_uk_cmb(unit, frequency_ghz)


def _same_splits(band: Band, other: Band) -> None:
    for split in band.splits:
        other.split_of(split)


class Maps:
    """The section `maps` of a configuration, and of its spectra what says which maps are used.

    Parameters
    ----------
    config : mapping
        From :func:`cmbfit.config.load_config`.

    Attributes
    ----------
    survey : Survey or None
        Of many maps.
    bands : dict
        Otherwise, the sections of the bands that ``spectra.pair`` names.

    Raises
    ------
    ConfigError
        With a line for each name, unit or file that does not fit.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._maps, wrong = config["maps"], Problems()
        self.survey: Survey | None = None
        self.bands: dict[str, Mapping[str, Any]] = {}
        with wrong.part():
            # the bands of a survey have frequencies, which brightness needs
            check_unit("maps", self._maps, 100.0 if "fields" in self._maps else None)
        if "fields" in self._maps:
            with wrong.part():
                self.survey = Survey(self._maps)
        else:
            for band in config["spectra"]["pair"]:
                with wrong.part():
                    self.bands[band] = named(self._maps["bands"], band, "spectra.pair", "band")
            with wrong.part():
                if self._maps["mask"] is None and "galactic_cut" not in self._maps:
                    raise ConfigError(
                        "maps.mask: expected a registered file, or maps.galactic_cut in its place, found null"
                    )
        registry = load_registry()
        for where, name in self._file_places():
            with wrong.part(), at(where):
                _ = registry[name]  # or an error that says which is meant
        wrong.stop()

    def _file_places(self) -> Iterator[tuple[str, str]]:
        """Yield registered files that the maps are made of, each with its place in the configuration."""
        if "fields" in self._maps:
            yield from self.survey.file_places() if self.survey else ()
            return
        yield "maps.pixel_window", self._maps["pixel_window"]
        if self._maps["mask"] is not None:
            yield "maps.mask", self._maps["mask"]
        for name, band in self.bands.items():
            if "map" in band:
                yield f"maps.bands.{name}.map", band["map"]
            if "bandpass" in band:
                yield f"maps.bands.{name}.bandpass", band["bandpass"].partition("[")[0]

    @property
    def files(self) -> list[str]:
        """Registered files that the maps are made of, once each."""
        return sorted({name for _, name in self._file_places()})
