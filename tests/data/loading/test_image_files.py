"""What image and mask files mean, and that everything else is one sentence which names the file."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskexp.data.errors import CorruptImageError
from maskexp.data.loading.image_files import decode_array, decode_mask, storage, stored_size

INSIDE = np.zeros((6, 8), bool)
INSIDE[2:4, 3:6] = True
BYTES = INSIDE.astype(np.uint8)
RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def rgba(colours: Any, alpha: np.ndarray) -> Image.Image:
    pixels = np.zeros((6, 8, 4), np.uint8)
    pixels[..., :3] = colours
    pixels[..., 3] = alpha
    return Image.fromarray(pixels)


def palette(indices: np.ndarray, *colours: int) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), "L")
    image = image.convert("P")
    image.putdata(indices.flatten().tolist())
    image.putpalette([*colours, *([0] * (768 - len(colours)))])
    return image


def coloured(colour: tuple[int, int, int], background: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    return Image.fromarray(np.where(INSIDE[..., None], np.uint8(colour), np.uint8(background)))


MASKS: dict[str, Image.Image] = {
    "1 bit": Image.fromarray(INSIDE),
    "0 and 1 in 8 bits": Image.fromarray(BYTES),
    "0 and 255": Image.fromarray(BYTES * 255),
    "grey as RGB": coloured((255, 255, 255)),
    "0 and 1 as RGB": coloured((1, 1, 1)),
    "red": coloured((255, 0, 0)),
    "dark red": coloured((128, 0, 0)),
    "16 bits, 0 and 1": Image.fromarray(INSIDE.astype(np.uint16)),
    "16 bits, 0 and 255": Image.fromarray(INSIDE.astype(np.uint16) * 255),
    "16 bits, 0 and 65535": Image.fromarray(INSIDE.astype(np.uint16) * 65535),
    "32 bits, 0 and 1": Image.fromarray(INSIDE.astype(np.int32)),
    "32 bits, 0 and 255": Image.fromarray(INSIDE.astype(np.int32) * 255),
    "float, 0 and 1": Image.fromarray(INSIDE.astype(np.float32)),
    "float, 0 and 255": Image.fromarray(INSIDE.astype(np.float32) * 255),
    "palette, red": palette(BYTES, 0, 0, 0, 128, 0, 0),
    "palette, white": palette(BYTES, 0, 0, 0, 255, 255, 255),
    "palette, grey 1": palette(BYTES, 0, 0, 0, 1, 1, 1),
    "alpha on white": rgba(255, BYTES * 255),
    "alpha on black": rgba(0, BYTES * 255),
    "alpha around an object": rgba(RAMP[..., None], BYTES * 255),
    "opaque alpha": rgba(BYTES[..., None] * 255, np.full((6, 8), 255)),
    "alpha and colours agree": rgba(BYTES[..., None] * 255, BYTES * 255),
    "grey and alpha": rgba(255, BYTES * 255).convert("LA"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_every_kind_show_the_same_foreground(name: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.tif" if name.startswith(("float", "32 bits")) else "a.png")
    MASKS[name].save(path)

    mask = decode_mask(path)

    assert mask.dtype == np.uint8
    assert set(mask.flatten().tolist()) == {0, 255}
    assert np.array_equal(mask >= 128, INSIDE)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8, np.uint16, np.int32, np.int64, np.float16, np.float64])
@pytest.mark.parametrize("most", [1, 255, 65535])
def test_arrays_of_every_type(kind: Any, most: int, tmp_path: Path) -> None:
    if (
        most > 1
        and (kind is bool or np.dtype(kind).kind in "iu")
        and most > np.iinfo(kind if kind is not bool else np.uint8).max
    ):
        pytest.skip("does not fit the type")
    if ((kind is bool or np.dtype(kind).kind == "f") and most > 255) or (kind is bool and most > 1):
        pytest.skip("no meaning")
    np.save(tmp_path / "a.npy", (INSIDE * most).astype(kind))

    assert np.array_equal(decode_mask(tmp_path / "a.npy"), BYTES * 255)
    assert stored_size(tmp_path / "a.npy") == (8, 6)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_soft_masks_begin_at_one_half(scale: float, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", INSIDE * scale)

    assert np.array_equal(decode_mask(tmp_path / "a.npy") >= 128, INSIDE)


def test_soft_masks_keep_their_levels(tmp_path: Path) -> None:
    levels = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)  # CUB's: agreement of five annotators
    Image.fromarray(levels).save(tmp_path / "a.png")
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "b.png")

    assert np.array_equal(decode_mask(tmp_path / "a.png"), levels)
    assert np.array_equal(decode_mask(tmp_path / "b.png"), levels)


def test_noise_of_jpeg_makes_no_classes(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 3, np.uint8)).save(tmp_path / "a.jpg")

    assert decode_mask(tmp_path / "a.jpg").max() < 128


REFUSED_IMAGES: dict[str, tuple[Image.Image, str]] = {
    "classes": (Image.fromarray(BYTES * 2 + np.eye(6, 8, dtype=np.uint8)), "holds the values 0, 1, 2, 3, neither 0/1"),
    "object and void": (
        Image.fromarray(np.where(np.eye(6, 8, dtype=bool), 255, BYTES).astype(np.uint8)),
        "holds the values 0, 1, 255",
    ),
    "two colours": (coloured((255, 0, 0), (0, 0, 255)), "has 2 colours"),
    "palette of classes": (palette(BYTES + np.eye(6, 8), 0, 0, 0, 128, 0, 0, 0, 128, 0), "has 3 colours"),
    "transparent": (rgba(255, np.zeros((6, 8))), "is wholly transparent"),
    "alpha against colours": (rgba(BYTES[..., None] * 255, (1 - BYTES) * 255), "tells one foreground by its colours"),
    "odd 16 bits": (Image.fromarray(INSIDE.astype(np.uint16) * 900), "holds values up to 900, neither 0..255"),
    "negative": (Image.fromarray(-INSIDE.astype(np.int32)), "holds values from -1 to 0"),
    "float out of range": (Image.fromarray(INSIDE.astype(np.float32) * 3.5), r"holds values from 0 to 3\.5"),
    "not a number": (
        Image.fromarray(np.where(INSIDE, np.float32(np.nan), np.float32(0))),
        "holds values that are not finite",
    ),
}


@pytest.mark.parametrize("name", REFUSED_IMAGES)
def test_masks_that_could_mean_several_things_are_refused(name: str, tmp_path: Path) -> None:
    image, sentence = REFUSED_IMAGES[name]
    image.save(tmp_path / "a.tif" if image.mode in ("F", "I") else tmp_path / "a.png")
    (path,) = tmp_path.iterdir()

    with pytest.raises(CorruptImageError, match=rf"^the mask \S+{path.name} {sentence}"):
        decode_mask(path)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.array([[0, 70000]]), "from 0 to 70000"),
        (np.array([[0, -1]]), "from -1 to 0"),
        (np.array([[0, 100]], np.int8) - 120, "from -120 to 0"),
        (np.array([[0.0, np.inf]]), "not finite"),
        (np.array([["a", "b"]]), "type <U1"),
        (np.array([[1j, 0]]), "type complex128"),
        (np.array([[0, 2, 5]]), "the values 0, 2, 5"),
    ],
)
def test_arrays_without_meaning_are_refused(values: np.ndarray, sentence: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values)

    with pytest.raises(CorruptImageError, match=rf"^the mask \S+a\.npy holds .*{sentence}"):
        decode_mask(tmp_path / "a.npy")


def test_a_header_that_promises_too_much_fills_no_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2), np.uint8))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(2, 2), }      ", b"(999999,999999)}")[:128]
    (tmp_path / "a.npy").write_bytes(content)

    with pytest.raises(CorruptImageError, match=r"a\.npy cannot be read as a mask: it is damaged"):
        decode_mask(tmp_path / "a.npy")


def test_images_of_more_bits_keep_their_brightness(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    Image.fromarray(RAMP.astype(np.float32) / 255).save(tmp_path / "float.tif")
    Image.fromarray(RAMP.astype(np.int32)).save(tmp_path / "integers.tif")

    for path in sorted(tmp_path.iterdir()):
        assert np.array_equal(decode_array(path, "RGB"), RAMP[..., None].repeat(3, 2)), path.name


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (RAMP.astype(np.float32), "holds floats from 0 to 235, and what is white is unknown"),
        (RAMP.astype(np.int32) * 257, "holds integers of 32 bits from 0 to 60395"),
        (np.where(INSIDE, np.float32(np.nan), np.float32(0)), "holds floats from nan to nan"),
    ],
)
def test_images_whose_white_is_unknown_are_refused(values: np.ndarray, sentence: str, tmp_path: Path) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")

    with pytest.raises(CorruptImageError, match=rf"a\.tif {sentence}"):
        decode_array(tmp_path / "a.tif", "RGB")


def with_exif(path: Path, tag: int, kind: int, value: bytes) -> Path:
    """Write a JPEG whose EXIF data has one entry of any type, as cameras and broken editors write it."""
    entry = struct.pack("<HHI", tag, kind, len(value) if kind == 2 else 1) + value.ljust(4, b"\0")[:4]
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + b"\0\0\0\0"
    Image.fromarray(RAMP).convert("RGB").save(path, exif=exif)
    return path


@pytest.mark.parametrize("tag", [0x0112, 0x011A, 0x0128, 0xA002])
def test_text_where_exif_has_a_number_does_no_harm(tag: int, tmp_path: Path) -> None:
    path = with_exif(tmp_path / "a.jpg", tag, 2, b"6\0")

    assert decode_array(path, "RGB").shape == (6, 8, 3)
    assert stored_size(path) == (8, 6)
    assert storage(path).orientation == (None if tag == 0x0112 else 1)


def test_damaged_exif_leaves_the_image_as_it_is_stored(tmp_path: Path) -> None:
    Image.fromarray(RAMP).convert("RGB").save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f garbage")

    assert decode_array(tmp_path / "a.jpg", "RGB").shape == (6, 8, 3)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_png_with_a_big_colour_profile(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    profile = chunk(b"iCCP", b"big\0\0" + zlib.compress(bytes(3 << 20)))
    (tmp_path / "a.png").write_bytes(content[:33] + profile + content[33:])

    assert np.array_equal(decode_array(tmp_path / "a.png", "L"), RAMP)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".gif", ".bmp", ".ppm", ".avif", ".jp2"])
def test_damaged_files_of_every_format_are_one_sentence(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    try:
        Image.fromarray(noise).save(path)
    except (KeyError, OSError, ValueError):
        pytest.skip("this build of Pillow does not write it")
    content, draws = path.read_bytes(), np.random.default_rng(1)
    assert decode_array(path, "RGB").shape == (40, 60, 3)

    for number in range(60):
        damaged = bytearray(content[: draws.integers(4, len(content))] if number % 2 else content)
        for _ in range(draws.integers(1, 30)):
            damaged[draws.integers(0, min(len(damaged), 400 if number % 3 else len(damaged)))] = draws.integers(0, 256)
        path.write_bytes(damaged)
        for read in (decode_array, lambda path, _: decode_mask(path), lambda path, _: storage(path)):
            try:
                read(path, "RGB")
            except CorruptImageError as error:
                assert f"a{suffix}" in str(error)  # noqa: PT017
                assert "Error" not in str(error).replace("CorruptImageError", "")  # noqa: PT017


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(subprocess, "check_call", None)

    for read in (lambda path: decode_array(path, "RGB"), decode_mask, storage):
        with pytest.raises(CorruptImageError, match=r"photo\.jpg cannot be decoded: it is damaged, or no image of a"):
            read(tmp_path / "photo.jpg")


@pytest.mark.parametrize(
    "content",
    [
        b"#define a_width 8\n#define a_height 8\nstatic char a_bits[] = {\n0x00};",  # XBM
        b'/* XPM */\nstatic char *a[] = {\n"8 8 1 1",\n"a c #000000",\n};',
        b"\xd7\xcd\xc6\x9a" + bytes(60),  # WMF
        b"DDS " + bytes(124),
    ],
    ids=["XBM", "XPM", "WMF", "DDS"],
)
def test_formats_that_nobody_takes_for_photographs_are_not_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)

    with pytest.raises(CorruptImageError, match=r"a\.png cannot be decoded: it is damaged, or no image of a format"):
        decode_array(tmp_path / "a.png", "RGB")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(CorruptImageError, match=r"cannot be read \(Is a directory\)"):
        decode_array(tmp_path, "RGB")


def test_a_huge_image_says_how_it_is_allowed(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 30000, 30000, 1, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    (tmp_path / "a.png").write_bytes(signature + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))

    with pytest.raises(CorruptImageError, match=r"a\.png is too large: .* 178,956,970 pixels; .*MASKEXP_MAX_PIXELS"):
        stored_size(tmp_path / "a.png")

    read = "import sys; from pathlib import Path; from maskexp.data.loading.image_files import stored_size; "
    read += "print(stored_size(Path(sys.argv[1])))"
    environment = os.environ | {"MASKEXP_MAX_PIXELS": "1000000000", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", read, str(tmp_path / "a.png")]
    allowed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert allowed.stdout == "(30000, 30000)\n"


@pytest.mark.parametrize("name", ["a.jpg", "a.npy"])
def test_a_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(CorruptImageError, match=f"{name} is a device or a pipe; only a regular file can be read"):
        decode_mask(tmp_path / name)
    with pytest.raises(CorruptImageError, match="is a device or a pipe"):
        stored_size(tmp_path / name)


def _areas(*levels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Stripes of eight pixels, one a level."""
    return np.repeat(np.array(levels, np.uint8), 8)[None].repeat(24, axis=0)


@pytest.mark.parametrize(
    "levels",
    [(0, 15, 15, 255), (0, 8, 10, 10, 255), (2, 3, 3, 140), (7, 23, 33), (0, 100)],
    ids=["VOC with its void border", "Cityscapes", "ADE20K", "ids without black", "one dark level"],
)
def test_maps_of_classes_are_refused_whatever_their_ids(levels: tuple[int, ...], tmp_path: Path) -> None:
    Image.fromarray(_areas(*levels)).save(tmp_path / "a.png")

    with pytest.raises(CorruptImageError, match="may be a map of classes"):
        decode_mask(tmp_path / "a.png")


@pytest.mark.parametrize(
    "levels",
    [tuple(range(0, 256, 16)), (0, 51, 51, 102, 255), (0, 85, 85, 255), (0, 200), (0, 0, 100, 255, 255)],
    ids=["an estimate in steps of 16", "five people", "three people", "one bright level", "mostly white"],
)
def test_soft_masks_of_few_levels_are_none(levels: tuple[int, ...], tmp_path: Path) -> None:
    Image.fromarray(_areas(*levels)).save(tmp_path / "a.png")

    assert np.array_equal(decode_mask(tmp_path / "a.png"), _areas(*levels))
