"""The sites of a cohort: which hospital each training image is from, and batches in which every one has its turn."""

from typing import NamedTuple

import numpy as np

from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for
from datadouble.recipes.runs import Material


class Sites(NamedTuple):
    """Names of the sites, and which of them each training image is from, int64 (n,)."""

    names: tuple[str, ...]
    of: np.ndarray


def sites_of(material: Material, batch: int) -> Sites:
    """Return the sites of the training images, by the cohort's column `site`; one where it is empty.

    Raises
    ------
    DataDoubleError
        When some images have a site and others none, a site has one patient, or a batch holds fewer images than
        there are sites.
    """
    table = material.train.table
    of = [str(site) for site in table["site"]]
    names = tuple(sorted(set(of)))
    if "" in names and len(names) > 1:
        raise DataDoubleError(
            f"{of.count('')} of {len(of)} training images have no site",
            where="metadata.csv, site",
            remedy="fill the column for all images, or empty it for all",
        )
    patients = table["patient_id"].groupby(np.array(of)).nunique()
    alone = [name or "all" for name in names if patients[name] < 2]
    if alone:
        raise DataDoubleError(
            "a site has one training patient, whom its critic would learn by heart",
            where="metadata.csv, site",
            found=", ".join(alone),
            remedy="join it to another site, drop its rows, or lower data.validation_share",
        )
    if batch < len(names):
        raise DataDoubleError(
            "a batch holds an image of each site",
            where="training.batch",
            found=f"{batch}, {len(names)} sites",
            remedy=f"use {len(names)} or more",
        )
    return Sites(names, np.array([names.index(site) for site in of], dtype=np.int64))


def site_rows(sites: Sites, seed: int, images_seen: int, batch: int) -> np.ndarray:
    """Return the rows (batch,) that follow `images_seen` images: sites in turns, each in shuffled passes of its own."""
    count = len(sites.names)
    rows = np.empty(batch, dtype=np.int64)
    passes: dict[tuple[int, int], np.ndarray] = {}
    for i, place in enumerate(range(images_seen, images_seen + batch)):
        visit, site = divmod(place, count)
        members = np.flatnonzero(sites.of == site)
        epoch, within = divmod(visit, len(members))
        if (site, epoch) not in passes:
            passes[site, epoch] = generator_for(seed, "site", site, epoch).permutation(members)
        rows[i] = passes[site, epoch][within]
    return rows
