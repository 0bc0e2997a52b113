"""What data there is, in words, for ``maskexp data list`` and the README. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CATALOG", "COLUMNS", "Entry", "markdown_table"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One datamodule.

    Attributes:
        name: its class, as ``--data`` takes it.
        summary: one line.
        paper: authors and place of publication.
        images: how many in train / val / test, where that is fixed.
        size: of the download; ``≈`` marks what is not confirmed, ``–`` what is not known.
        automatic: whether ``maskexp data prepare`` downloads it (``yes``), ``maskexp data make`` makes it
            (``generated``), or somebody has to fetch it (``manual``).
        command: exactly what brings it into place, once a manual download lies in the working directory.
        foreground: what the foreground can be.
        get: where the data is, in words.
        licence: under which conditions.
    """

    name: str
    summary: str
    paper: str
    images: str
    size: str
    automatic: Literal["yes", "generated", "manual"]
    command: str
    foreground: str
    get: str
    licence: str


COLUMNS = {
    "images": "images (train / val / test)",
    "size": "download",
    "automatic": "automatic",
    "command": "command",
    "foreground": "foreground",
    "licence": "licence",
}
"""Attributes of an entry that the README's table shows, with the titles of their columns."""

CATALOG: tuple[Entry, ...] = (
    Entry(
        name="SyntheticBirds",
        summary="drawn land and water birds on land and water scenes, any correlation; the embedded default",
        paper="ours",
        images="2000 / 400 / 800, or any other number",
        size="none",
        automatic="generated",
        command="maskexp fit --model AIM --data SyntheticBirds",
        foreground="exact masks",
        get="nothing to get: drawn in memory from a seed",
        licence="Apache-2.0",
    ),
    Entry(
        name="WaterBirds",
        summary="land and water birds of CUB on land and water of Places; 95 %, 100 %, corrected, or your own",
        paper="Sagawa et al., ICLR 2020",
        images="4795 / 1199 / 5794",
        size="≈ 0.5 GB",
        automatic="manual",
        command="maskexp data prepare WaterBirds data/waterbirds --raw waterbird_complete95_forest2water2.tar.gz",
        foreground="CUB's masks or boxes (cub_root); no release has its own",
        get="https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz; masks: "
        "https://data.caltech.edu/records/w9d68-gec53; then --data.root and --data.cub_root. Any correlation, with "
        "masks: maskexp data make waterbirds",
        licence="non-commercial research",
    ),
    Entry(
        name="CUB",
        summary="200 species of birds (CUB-200-2011); no groups",
        paper="Wah et al., 2011",
        images="5994, a share held out / 5794",
        size="1.15 GB and 39 MB",
        automatic="yes",
        command="maskexp data prepare CUB data/cub",
        foreground="masks (soft), boxes",
        get="https://data.caltech.edu/records/65de6-vp158 and, for segmentations, /w9d68-gec53; then --data.root",
        licence="non-commercial research",
    ),
    Entry(
        name="TravelingBirds",
        summary="CUB with one kind of place per species, exchanged in the test split; also random and black ones",
        paper="Koh et al., ICML 2020",
        images="5994, a share held out / 5794",
        size="none",
        automatic="generated",
        command="maskexp data make travelingbirds data/travelingbirds --cub_root data/cub/CUB_200_2011 "
        "--places data/places",
        foreground="CUB's masks or boxes (cub_root)",
        get="CodaLab bundle 0x518829de2aa440c79cd9d75ef6669f27 (down in 2026); then --data.root and --data.cub_root. "
        "Or generate it, after maskexp data prepare CUB data/cub and maskexp data prepare Places365Val data/places",
        licence="non-commercial research",
    ),
    Entry(
        name="ImageNet9",
        summary="nine coarse classes of ImageNet and the eight test variants of the backgrounds challenge",
        paper="Xiao et al., ICLR 2021",
        images="45405 / 4185 less test pictures / 4050 per variant",
        size="–",
        automatic="manual",
        command="maskexp data prepare ImageNet9 data/imagenet9 --raw backgrounds_challenge_data.tar.gz",
        foreground="masks of the test variants",
        get="https://github.com/MadryLab/backgrounds_challenge/releases/download/data/"
        "backgrounds_challenge_data.tar.gz; training archives: offline in 2026, or a new draw from ImageNet "
        "(--data.imagenet_root, --data.boxes); then --data.root and --data.train_root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="HardImageNet",
        summary="fifteen classes of ImageNet with strong spurious cues",
        paper="Moayeri et al., NeurIPS 2022",
        images="about 19000, a share held out / at most 750",
        size="–",
        automatic="manual",
        command="maskexp data prepare HardImageNet data/hardimagenet --raw hardImageNet.zip",
        foreground="masks",
        get="https://github.com/mmoayeri/HardImageNet (masks), ImageNet (pictures); then --data.root and "
        "--data.imagenet_root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="Imagenette",
        summary="ten easily told classes of ImageNet; small and public",
        paper="fast.ai, 2019",
        images="9469, a share held out / 3925",
        size="≈ 0.1, 0.3 or 1.6 GB",
        automatic="yes",
        command="maskexp data prepare Imagenette-160 data/imagenette",
        foreground="ILSVRC's boxes (boxes)",
        get="https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz (also -320, full size); then --data.root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="ImageWoof",
        summary="ten breeds of dogs of ImageNet; small and public",
        paper="fast.ai, 2019",
        images="9025, a share held out / 3929",
        size="–",
        automatic="manual",
        command="maskexp data prepare ImageWoof data/imagewoof --raw imagewoof2-160.tgz",
        foreground="ILSVRC's boxes (boxes)",
        get="https://s3.amazonaws.com/fast-ai-imageclas/imagewoof2-160.tgz (also -320, full size; no checksum is "
        "published); then --data.root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="ImageNet100",
        summary="a hundred classes of ImageNet by a named list (cmc) or your own",
        paper="Tian et al., ECCV 2020",
        images="126689, a share held out / 5000",
        size="that of ImageNet",
        automatic="manual",
        command="maskexp fit --model AIM --data ImageNet100 --data.root data/imagenet",
        foreground="ILSVRC's boxes (boxes)",
        get="ImageNet after registration at https://image-net.org; then --data.root",
        licence="terms of ImageNet",
    ),
    Entry(
        name="An8Flower",
        summary="rendered plants told by the colour of one part (double_12c, single_6c); no groups",
        paper="Oramas et al., ICLR 2019",
        images="no official split",
        size="–",
        automatic="manual",
        command="maskexp data check An8Flower data/an8flower",
        foreground="masks of the part that decides",
        get="https://homes.esat.kuleuven.be/~joramas/projects/visualExplanationByInterpretation: extract the folders "
        "an8Flower_<set> and an8Flower_<set>_MASK beside each other; then --data.root",
        licence="none stated",
    ),
    Entry(
        name="BAM",
        summary="ten objects pasted on ten scenes, with the labels of the ones or of the others",
        paper="Yang & Kim, 2019",
        images="90000, a share held out / 10000",
        size="that of COCO train2017 and MiniPlaces",
        automatic="manual",
        command="maskexp data check BAM data/bam",
        foreground="masks and boxes of the test pictures",
        get="https://github.com/google-research-datasets/bam: its scripts make data/obj, data/scene, data/scene_only; "
        "then --data.root",
        licence="Apache-2.0",
    ),
    Entry(
        name="Spawrious",
        summary="generated dogs of four breeds on six locations that change between training and test; six challenges",
        paper="Lynch et al., 2023",
        images="25344, a share held out / 25344 per challenge",
        size="–",
        automatic="manual",
        command="maskexp data prepare Spawrious data/spawrious --raw spawrious224__o2o_easy.tar.gz",
        foreground="none",
        get="https://github.com/aengusl/spawrious (tar files on Dropbox); then --data.root",
        licence="CC BY 4.0 (README) or CC0 (LICENSE)",
    ),
    Entry(
        name="CelebA",
        summary="faces; blond hair against male, or any two of 40 attributes",
        paper="Liu et al., ICCV 2015",
        images="162770 / 19867 / 19962",
        size="–",
        automatic="yes",
        command="maskexp data prepare CelebA data/celeba",
        foreground="none",
        get="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (or Kaggle's CSV files); then --data.root. The "
        "published boxes belong to the pictures that are not aligned",
        licence="non-commercial research",
    ),
    Entry(
        name="MetaShift",
        summary="cats and dogs, indoors and outdoors, as SubpopBench packs them",
        paper="Liang & Zou, ICLR 2022",
        images="2276 / 349 / 874",
        size="–",
        automatic="manual",
        command="maskexp data prepare MetaShift data/metashift --raw metashift.tar.gz",
        foreground="GQA's boxes (scene_graphs)",
        get="https://www.dropbox.com/s/a7k65rlj4ownyr2/metashift.tar.gz?dl=1; boxes: "
        "https://nlp.stanford.edu/data/gqa/sceneGraphs.zip; then --data.root",
        licence="Visual Genome (CC BY 4.0)",
    ),
    Entry(
        name="NICOPlusPlus",
        summary="60 classes in six contexts; sizes of SubpopBench or COMET, or the official test pairs of contexts",
        paper="Zhang et al., CVPR 2023",
        images="62657 / 8726 / 17483 (subpop)",
        size="–",
        automatic="manual",
        command="maskexp data prepare NICOPlusPlus data/nicopp --raw track_1.zip",
        foreground="none",
        get="https://github.com/xxgege/NICO-plus (track_1.zip, and dg_label_id_mapping.json beside its folder); then "
        "--data.root",
        licence="non-commercial research",
    ),
    Entry(
        name="Manifest",
        summary="your own images: a CSV, or a folder {train,val,test}/<class>/",
        paper="yours",
        images="yours",
        size="none",
        automatic="manual",
        command="maskexp fit --model AIM --data Manifest --data.csv birds.csv",
        foreground="masks, boxes or none",
        get="--data.csv or --data.root",
        licence="yours",
    ),
)
"""All datamodules, the embedded default first."""


def markdown_table() -> str:
    """Return the catalogue as the table of the README."""
    lines = [["name", *COLUMNS.values()], ["---"] * (len(COLUMNS) + 1)]
    for entry in CATALOG:
        facts = {column: str(getattr(entry, column)) for column in COLUMNS}
        lines.append([f"`{entry.name}`", *({**facts, "command": f"`{entry.command}`"}.values())])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
