"""Ways of hiding that paint over the hidden pixels and show the network the result.

Colours are those of the images as they are given, before any normalisation inside the network.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskexp.masking.inputs.interface import InputMasking, check_visible

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean colour of ImageNet in [0, 1], which its networks normalise to 0."""


class Fill(InputMasking):
    """A way of hiding that replaces hidden pixels and leaves the network as it is."""

    @abstractmethod
    def fill(self, images: Tensor, visible: Tensor) -> Tensor:
        """Return images ``(B, C, H, W)`` with new values where hidden; arguments as in :meth:`__call__`."""

    def blend(self, images: Tensor, mask: Tensor) -> Tensor:
        """Show images through a soft mask, differentiable in the mask: ``mask * images + (1 - mask) * q``.

        Here ``q`` is what :meth:`fill` paints where nothing is visible, so that a mask and its complement add up to
        ``images + q``.

        Args:
            images: ``(B, C, H, W)``.
            mask: ``(B, 1, H, W)`` in [0, 1], 1 = keep.
        """
        return mask * images + (1 - mask) * self.fill(images, torch.zeros_like(mask, dtype=torch.bool))

    def __call__(self, network: nn.Module, images: Tensor, visible: Tensor) -> Any:
        """Run the network on the filled images; see :meth:`InputMasking.__call__`."""
        check_visible(images, visible)
        return network(self.fill(images, visible))


@dataclass(frozen=True)
class Colour(Fill):
    """Paint hidden pixels in one colour.

    Attributes:
        colour: one value a channel, in the range of the images.

    Raises:
        ValueError: when applied to images with another number of channels.
    """

    colour: tuple[float, ...]

    def fill(self, images: Tensor, visible: Tensor) -> Tensor:
        """Return the images with the colour where hidden."""
        return torch.where(visible, images, _colour(self.colour, images))


@dataclass(frozen=True)
class Grey(Colour):
    """Paint hidden pixels in the mean colour of ImageNet, which is 0 after normalisation ("greyout").

    Balasubramanian & Feizi, ICCV 2023; also COMET's mean fill where the network is normalised with ImageNet's mean.
    """

    colour: tuple[float, ...] = IMAGENET_MEAN


@dataclass(frozen=True)
class Black(Colour):
    """Paint hidden pixels black, which is *not* 0 after normalisation ("blackout")."""

    colour: tuple[float, ...] = (0.0, 0.0, 0.0)


class Mean(Fill):
    """Paint hidden pixels in the mean colour of the visible pixels of the same image; nothing visible gives black."""

    def fill(self, images: Tensor, visible: Tensor) -> Tensor:
        """Return the images with their own mean colour where hidden."""
        total = torch.where(visible, images, 0).sum(dim=(2, 3), keepdim=True)
        mean = total / visible.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        return torch.where(visible, images, mean)

    def blend(self, images: Tensor, mask: Tensor) -> Tensor:
        """Show images through a soft mask; the mean counts each pixel as much as it is visible."""
        shown = mask * images
        mean = shown.sum(dim=(2, 3), keepdim=True) / mask.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        return shown + (1 - mask) * mean


@dataclass(frozen=True)
class EdgeSmoothed(Fill):
    """Paint hidden pixels in one colour, then blur inside the hidden region, so that its outline is no sharp edge.

    Attributes:
        colour: one value a channel (Balasubramanian & Feizi, ICCV 2023: ImageNet's mean).
        sigma: of the Gaussian, in pixels (released code: 1).
        kernel_size: width of the Gaussian's window in pixels, odd (released code: 5).
    """

    colour: tuple[float, ...] = IMAGENET_MEAN
    sigma: float = 1.0
    kernel_size: int = 5

    def __post_init__(self) -> None:
        """Check the Gaussian."""
        _check_gaussian(self.sigma, self.kernel_size)

    def fill(self, images: Tensor, visible: Tensor) -> Tensor:
        """Return the images with the smoothed colour where hidden."""
        painted = torch.where(visible, images, _colour(self.colour, images))
        return torch.where(visible, images, _gaussian_blur(painted, self.sigma, self.kernel_size))


@dataclass(frozen=True)
class Blur(Fill):
    """Show hidden pixels blurred.

    The only way of hiding that keeps something of what it hides: coarse colours shine through, and a hidden NaN
    spreads to the hidden pixels around it.

    Sigma and window are those of RISE (Petsiuk et al., BMVC 2018, released code), but not its kernel: RISE blurs one
    point inside a window of 11 × 11 pixels, at whose borders the Gaussian is reflected, which makes the kernel flatter
    (centre 0.00883 instead of 0.01196). ``reflected`` gives that kernel (by name: ``blur_rise``). Beyond the border of
    the image the outermost pixels repeat (ours; RISE: 0 after normalisation).

    Attributes:
        sigma: of the Gaussian, in pixels.
        kernel_size: width of the Gaussian's window in pixels, odd.
        reflected: whether the Gaussian is reflected at the borders of its window, as in RISE's released code.
    """

    sigma: float = 5.0
    kernel_size: int = 11
    reflected: bool = False

    def __post_init__(self) -> None:
        """Check the Gaussian."""
        _check_gaussian(self.sigma, self.kernel_size)

    def fill(self, images: Tensor, visible: Tensor) -> Tensor:
        """Return the images, blurred where hidden."""
        blurred = _gaussian_blur(images, self.sigma, self.kernel_size, self.reflected)
        return torch.where(visible, images, blurred)


@dataclass(frozen=True)
class Noise(Fill):
    """Replace hidden pixels by noise, uniform in [0, 1] and independent for each pixel and channel.

    The noise depends on the seed and the image size alone: it is the same for each image, however they are batched.

    Attributes:
        seed: of the draw; the global random state is left alone.
    """

    seed: int = 0

    def fill(self, images: Tensor, visible: Tensor) -> Tensor:
        """Return the images with noise where hidden."""
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.rand(images.shape[1:], generator=generator)
        return torch.where(visible, images, noise.to(images))


def _colour(colour: tuple[float, ...], images: Tensor) -> Tensor:
    """Return a colour as ``(C, 1, 1)``, or refuse one of another number of channels."""
    if len(colour) != images.shape[1]:
        raise ValueError(
            f"the colour {colour} has {len(colour)} values, but the images have {images.shape[1]} channels"
        )
    return images.new_tensor(colour).view(-1, 1, 1)


def _check_gaussian(sigma: float, kernel_size: int) -> None:
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; it must be greater than 0")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}; it must be odd and positive")


def _gaussian_blur(images: Tensor, sigma: float, kernel_size: int, reflected: bool = False) -> Tensor:
    """Blur ``(B, C, H, W)`` with a Gaussian; beyond the border the outermost pixels repeat (ours)."""
    reach = kernel_size // 2
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    if reflected:  # what lies beyond the window comes back in, up to four sigma, as in scipy.ndimage.gaussian_filter
        beyond = int(4 * sigma + 0.5)
        far = torch.arange(-beyond, beyond + 1, device=images.device, dtype=images.dtype)
        place = (far.long() + reach) % (2 * kernel_size)
        place = torch.where(place < kernel_size, place, 2 * kernel_size - 1 - place)
        weights = torch.zeros_like(weights).index_add(0, place, torch.exp(-(far**2) / (2 * sigma**2)))
    weights = (weights / weights.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    rows = F.conv2d(padded, weights[:, :, None], groups=images.shape[1])
    return F.conv2d(rows, weights[..., None], groups=images.shape[1])
