"""What data there is, in words, for ``maskexp data list``. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOG", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One datamodule.

    Attributes:
        name: its class, as ``--data`` takes it.
        summary: one line.
        images: how many, per split where that is fixed.
        foreground: what the foreground can be.
        get: how to get the data.
        licence: under which conditions.
    """

    name: str
    summary: str
    images: str
    foreground: str
    get: str
    licence: str


CATALOG: tuple[Entry, ...] = (
    Entry(
        name="SyntheticBirds",
        summary="drawn land and water birds on land and water scenes, any correlation; the embedded default",
        images="2000 / 400 / 800, or any other number",
        foreground="segmentation (exact)",
        get="nothing to get: drawn in memory from a seed",
        licence="Apache-2.0",
    ),
    Entry(
        name="WaterBirds",
        summary="land and water birds of CUB on land and water of Places; 95 %, 100 %, corrected, or your own",
        images="4795 / 1199 / 5794",
        foreground="segmentation and box, both from CUB-200-2011 (no release of WaterBirds has them)",
        get="https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz; masks: "
        "https://data.caltech.edu/records/w9d68-gec53; then --data.root and --data.cub_root",
        licence="non-commercial research",
    ),
    Entry(
        name="CUB",
        summary="200 species of birds (CUB-200-2011); no groups",
        images="5994 (a share held out for validation) / 5794",
        foreground="segmentation (soft) and box",
        get="https://data.caltech.edu/records/65de6-vp158 and, for segmentations, /w9d68-gec53; then --data.root",
        licence="non-commercial research",
    ),
    Entry(
        name="TravelingBirds",
        summary="CUB with one kind of place per species, exchanged in the test split; also random and black ones",
        images="5994 (a share held out for validation) / 5794",
        foreground="segmentation (soft) and box, both from CUB-200-2011",
        get="CodaLab bundle 0x518829de2aa440c79cd9d75ef6669f27 (down in 2026); then --data.root and --data.cub_root",
        licence="non-commercial research",
    ),
    Entry(
        name="ImageNet9",
        summary="nine coarse classes of ImageNet and the eight test variants of the backgrounds challenge",
        images="45405 / 4185 less test pictures / 4050 per variant",
        foreground="segmentation (test variants)",
        get="https://github.com/MadryLab/backgrounds_challenge (release 'data'); training archives: offline in 2026; "
        "then --data.root and --data.train_root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="HardImageNet",
        summary="fifteen classes of ImageNet with strong spurious cues",
        images="about 19000 (a share held out for validation) / at most 750",
        foreground="segmentation",
        get="https://github.com/mmoayeri/HardImageNet (masks), ImageNet (pictures); then --data.root and "
        "--data.imagenet_root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="Imagenette",
        summary="ten easily told classes of ImageNet; small and public",
        images="9469 (a share held out for validation) / 3925",
        foreground="box (ILSVRC, with --data.boxes)",
        get="https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz (also -320, full size); then --data.root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="ImageWoof",
        summary="ten breeds of dogs of ImageNet; small and public",
        images="9025 (a share held out for validation) / 3929",
        foreground="box (ILSVRC, with --data.boxes)",
        get="https://s3.amazonaws.com/fast-ai-imageclas/imagewoof2-160.tgz (also -320, full size); then --data.root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="ImageNet100",
        summary="a hundred classes of ImageNet by a named list (cmc) or your own",
        images="126689 (a share held out for validation) / 5000",
        foreground="box (ILSVRC, with --data.boxes)",
        get="ImageNet after registration at https://image-net.org; then --data.root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="Spawrious",
        summary="generated dogs of four breeds on six locations that change between training and test; six challenges",
        images="25344 (a share held out for validation) / 25344",
        foreground="none",
        get="https://github.com/aengusl/spawrious (tar files on Dropbox); then --data.root",
        licence="CC BY 4.0 (README) or CC0 (LICENSE)",
    ),
    Entry(
        name="CelebA",
        summary="faces; blond hair against male, or any two of 40 attributes",
        images="162770 / 19867 / 19962",
        foreground="none (the published boxes belong to the pictures that are not aligned)",
        get="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (or Kaggle's CSV files); then --data.root",
        licence="non-commercial research",
    ),
    Entry(
        name="MetaShift",
        summary="cats and dogs, indoors and outdoors, as SubpopBench packs them",
        images="2276 / 349 / 874",
        foreground="none",
        get="https://www.dropbox.com/s/a7k65rlj4ownyr2/metashift.tar.gz?dl=1; then --data.root",
        licence="Visual Genome (CC BY 4.0)",
    ),
    Entry(
        name="NICOPlusPlus",
        summary="60 classes in six contexts; sizes of SubpopBench or COMET, or the official test pairs of contexts",
        images="62657 / 8726 / 17483 (subpop)",
        foreground="none",
        get="https://github.com/xxgege/NICO-plus (track_1.zip, dg_label_id_mapping.json); then --data.root",
        licence="non-commercial research",
    ),
    Entry(
        name="Manifest",
        summary="your own images: a CSV, or a folder {train,val,test}/<class>/",
        images="yours",
        foreground="segmentation, box or none",
        get="--data.csv or --data.root",
        licence="yours",
    ),
)
"""All datamodules, the embedded default first."""
