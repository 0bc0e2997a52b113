from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskexp.data.errors import CorruptImageError
from maskexp.data.loading import pixels as decode
from maskexp.data.loading.image_files import decode_array, stored_size
from tests.fixtures import truncate

MODES = ["RGB", "L", "1", "P", "LA", "RGBA", "CMYK", "I;16"]


@pytest.fixture(params=["torchcodec", "pillow"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pillow":
        monkeypatch.setattr(decode, "_torchcodec", lambda: None)
    elif decode.decoder_name() != "torchcodec":
        pytest.skip("torchcodec is not installed")
    return str(request.param)


def random_image(mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16) * 200 + 77)
    return Image.fromarray(values).convert(mode)


def test_decoder_name(decoder: str) -> None:
    assert decode.decoder_name() == decoder


@pytest.mark.parametrize("mode", MODES)
def test_both_decoders_agree(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    random_image(mode).save(path)

    first = decode.read_rgb(path)
    monkeypatch.setattr(decode, "_torchcodec", lambda: None)
    second = decode.read_rgb(path)

    assert first.shape == (3, 40, 60)
    assert first.dtype == torch.uint8
    assert torch.equal(first, second)


def test_lossless_rgb_is_exact(decoder: str, tmp_path: Path) -> None:
    random_image().save(tmp_path / "a.png")

    assert torch.equal(decode.read_rgb(tmp_path / "a.png"), torch.from_numpy(np.array(random_image())).permute(2, 0, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(decoder: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.zeros((40, 64, 3), np.uint8)
    values[:20, :32] = 255  # upper left corner of the stored image
    Image.fromarray(values).save(tmp_path / "a.jpg", exif=exif, quality=95)

    pixels = decode.read_rgb(tmp_path / "a.jpg")

    corner = {1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left"}
    corner |= {5: "top left", 6: "top right", 7: "bottom right", 8: "bottom left"}
    half_height, half_width = pixels.shape[1] // 2, pixels.shape[2] // 2
    rows = slice(half_height) if corner[orientation].startswith("top") else slice(half_height, None)
    columns = slice(half_width) if corner[orientation].endswith("left") else slice(half_width, None)
    assert pixels.shape[1:] == ((64, 40) if orientation > 4 else (40, 64))
    assert pixels[:, rows, columns].float().mean() > 250
    assert stored_size(tmp_path / "a.jpg") == (pixels.shape[2], pixels.shape[1])


def test_format_that_torchcodec_lacks(decoder: str, tmp_path: Path) -> None:
    random_image().save(tmp_path / "a.bmp")

    assert decode.read_rgb(tmp_path / "a.bmp").shape == (3, 40, 60)


def test_first_frame_of_an_animation(decoder: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])

    assert decode.read_rgb(tmp_path / "a.gif")[:, 0, 0].tolist() == [255, 0, 0]


def test_truncated_jpeg_names_the_file(decoder: str, tmp_path: Path) -> None:
    random_image().save(tmp_path / "a.jpg")

    with pytest.raises(CorruptImageError, match=r"a\.jpg cannot be decoded: it is damaged; copy or download"):
        decode.read_rgb(truncate(tmp_path / "a.jpg"))


def test_file_that_is_no_image(decoder: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>404</html>")

    with pytest.raises(CorruptImageError, match=r"a\.jpg"):
        decode.read_rgb(tmp_path / "a.jpg")
    with pytest.raises(CorruptImageError, match=r"a\.jpg"):
        stored_size(tmp_path / "a.jpg")


def test_what_pillow_refuses_by_its_header_is_refused(
    decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_image().save(tmp_path / "large.png")
    (tmp_path / "program.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

    with pytest.raises(CorruptImageError, match=r"large\.png is too large: it has more than 2,000 pixels"):
        decode.read_rgb(tmp_path / "large.png")
    with pytest.raises(CorruptImageError, match=r"program\.jpg cannot be decoded"):
        decode.read_rgb(tmp_path / "program.jpg")


def test_palettes_are_left_to_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError

    random_image("P").save(tmp_path / "a.png", transparency=3)
    monkeypatch.setattr(decode, "_torchcodec", lambda: broken)

    assert torch.equal(
        decode.read_rgb(tmp_path / "a.png"), torch.from_numpy(decode_array(tmp_path / "a.png", "RGB")).permute(2, 0, 1)
    )


def test_missing_file(decoder: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode.read_rgb(tmp_path / "a.jpg")


def test_nothing_deprecated_is_called(decoder: str, tmp_path: Path) -> None:
    # torchvision.io.decode_* warns at every call
    random_image().save(tmp_path / "a.jpg")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode.read_rgb(tmp_path / "a.jpg")


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_masks_of_any_mode_become_one_channel(mode: str, tmp_path: Path) -> None:
    values = np.zeros((6, 8), np.uint8)
    values[2:4, 3:6] = 255
    Image.fromarray(values).convert(mode).save(tmp_path / "a.png")

    mask = decode.read_mask(tmp_path / "a.png")

    assert torch.equal(mask, torch.from_numpy(values)[None])
    assert stored_size(tmp_path / "a.png") == (8, 6)


def test_soft_masks_stay_soft(tmp_path: Path) -> None:
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "a.png")

    assert decode.read_mask(tmp_path / "a.png").flatten().tolist() == list(range(256))


@pytest.mark.parametrize("values", [np.eye(3, 4, dtype=bool), np.eye(3, 4), np.eye(3, 4, dtype=np.uint8) * 255])
def test_arrays_as_masks(values: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values)

    assert torch.equal(decode.read_mask(tmp_path / "a.npy"), (torch.eye(3, 4) * 255).to(torch.uint8)[None])
    assert stored_size(tmp_path / "a.npy") == (4, 3)


def test_array_of_wrong_shape_or_content(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    (tmp_path / "b.npy").write_bytes(b"nothing")

    with pytest.raises(CorruptImageError, match="two dimensions"):
        decode.read_mask(tmp_path / "a.npy")
    with pytest.raises(CorruptImageError, match=r"b\.npy cannot be read"):
        decode.read_mask(tmp_path / "b.npy")
