"""How near a picture is to another: PSNR, SSIM, GMSD, sharpness. Definitions and sources: perf.face."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PEAK: Final = 255.0
EXACT_DB: Final = 100.0
"""What equal pictures are given instead of infinity."""
GMSD_C: Final = 170.0
"""Xue et al.'s constant for pictures of 255 levels."""
_PREWITT: Final = np.array([[1.0, 0.0, -1.0]] * 3) / 3.0


def luma(picture: Image) -> Floats:
    """Luma [h, w], levels, of RGB [h, w, 3]."""
    return np.asarray(picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def decibels(squared_error: float) -> float:
    """PSNR of a mean squared error of levels."""
    return EXACT_DB if squared_error <= 0.0 else min(float(10.0 * np.log10(PEAK**2 / squared_error)), EXACT_DB)


def squared_error(shown: Image, truth: Image) -> Floats:
    """Mean over colours of the squared differences, [h, w]."""
    return np.asarray(np.square(shown.astype(np.float64) - truth).mean(2))


def ssim_map(shown: Image, truth: Image) -> Floats:
    """SSIM [h, w] on luma with Gaussian windows of 11 px and 1.5 px."""
    a, b = luma(shown), luma(truth)

    def mean(field: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(field, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT))

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return np.asarray(above / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)))


def gradient_similarity(shown: Image, truth: Image) -> Floats:
    """Xue et al.'s similarity of gradient magnitudes at half the resolution, [h // 2, w // 2]."""
    similar = []
    for picture in (shown, truth):
        grey = luma(picture)
        half = cv2.blur(grey, (2, 2), anchor=(0, 0))[::2, ::2][: len(picture) // 2, : picture.shape[1] // 2]
        across = cv2.filter2D(half, -1, _PREWITT, borderType=cv2.BORDER_REPLICATE)
        down = cv2.filter2D(half, -1, _PREWITT.T, borderType=cv2.BORDER_REPLICATE)
        similar.append(np.hypot(across, down))
    a, b = similar
    return np.asarray((2 * a * b + GMSD_C) / (a * a + b * b + GMSD_C))


def gmsd(shown: Image, truth: Image, mask: Mask) -> float:
    """Gradient magnitude similarity deviation over a mask [h, w] of both pictures [h, w, 3]."""
    half = mask[::2, ::2][: mask.shape[0] // 2, : mask.shape[1] // 2]
    return float(gradient_similarity(shown, truth)[half].std())


def gradient(picture: Image) -> Floats:
    """Gradient magnitude of luma [h, w], levels per px."""
    grey = luma(picture)
    return np.asarray(np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1)) / 8.0)


class PictureMeasures:
    """Collects the measures of one row over all frames, region by region."""

    def __init__(self, regions: dict[str, Mask]) -> None:
        """`regions` are masks [h, w] by name."""
        self._regions = regions
        self._error: dict[str, list[float]] = {name: [] for name in regions}
        self._ssim: dict[str, list[float]] = {name: [] for name in regions}
        self._gmsd: dict[str, list[float]] = {name: [] for name in regions}
        self._sharp: dict[str, list[tuple[float, float]]] = {name: [] for name in regions}

    def add(self, shown: Image, truth: Image) -> None:
        """Compare one frame [h, w, 3] with its truth."""
        error, similar = squared_error(shown, truth), ssim_map(shown, truth)
        here, there = gradient(shown), gradient(truth)
        for name, mask in self._regions.items():
            self._error[name].append(float(error[mask].mean()))
            self._ssim[name].append(float(similar[mask].mean()))
            self._gmsd[name].append(gmsd(shown, truth, mask))
            self._sharp[name].append((float(here[mask].mean()), float(there[mask].mean())))

    def figures(self) -> dict[str, float]:
        """psnr_REGION, ssim_REGION, gmsd_REGION, sharpness_REGION of all frames."""
        found: dict[str, float] = {}
        for name in self._regions:
            found[f"psnr_{name}"] = decibels(float(np.mean(self._error[name])))
            found[f"ssim_{name}"] = float(np.mean(self._ssim[name]))
            found[f"gmsd_{name}"] = float(np.mean(self._gmsd[name]))
            sharp = np.array(self._sharp[name]).sum(0)
            found[f"sharpness_{name}"] = float(sharp[0] / max(sharp[1], 1e-9))
        return found

    def errors(self, region: str) -> list[float]:
        """Mean squared error of each frame in a region."""
        return self._error[region]
