"""Handwritten digits: MNIST where it can be had, otherwise the 1,797 digits that lie beside this file.

Axes: N samples; B batch.
"""

import functools
import gzip
import logging
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from common.dl.datamodule.base import BaseDataModule, BaseDataModuleConfig, Split
from common.dl.datamodule.in_memory import InMemoryDataset
from common.errors import ConfigError
from common.run.identity import fingerprint_files
from common.utils.beartype import gt, lt, shape_checked
from common.utils.torch import import_torchvision

log = logging.getLogger(__name__)

Source = Literal["auto", "mnist", "digits"]

MEAN, STD = 0.1307, 0.3081
"""Of MNIST's training pixels, scaled to [0, 1]."""

SIZE = 28
DIGITS_FILE = Path(__file__).parent / "digits.npz"
DIGITS_MAX_INK = 16
DIGITS_TEST_EVERY = 5
DOWNLOAD_TIMEOUT_S = 5
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass
class MNISTDataModuleConfig(BaseDataModuleConfig):
    """Configures the data.

    Attributes:
        source: `mnist`, `digits` (the 1,797 digits shipped with the project, resized to 28×28), or `auto`: MNIST where
            it lies in `data_dir` or can be downloaded, otherwise the digits.
        val_fraction: The part of the training data that is set aside for validation, above 0 and below 1.
    """

    source: Source = "auto"
    val_fraction: Annotated[float, gt(0), lt(1)] = 1 / 12


class MNISTDataModule(BaseDataModule):
    """Serves images, B×1×28×28 and normalised, with their labels from 0 to 9."""

    config: MNISTDataModuleConfig

    def prepare_data(self) -> None:
        """Finds or downloads the data; `auto` becomes what was found.

        Raises:
            ConfigError: MNIST was asked for, is not there, and cannot be downloaded.
        """
        data_dir = Path(self.config.data_dir)
        if self.config.source == "digits":
            return
        if not has_mnist(data_dir):
            failure = download_mnist(data_dir)
            if failure and self.config.source == "mnist":
                raise ConfigError(
                    f"MNIST is not in {data_dir / 'MNIST' / 'raw'} and cannot be downloaded: {failure}. Put its four "
                    "IDX files there, name the folder that holds MNIST/raw with config.data_dir=<folder>, or use "
                    "datamodule.config.source=digits."
                )
            if failure:
                warn_of_digits(data_dir, failure)
                self.config.source = "digits"
                return
        self.config.source = "mnist"

    def describe_data(self) -> dict[str, Any]:
        """Returns the source and a fingerprint of its files."""
        names = [name for names in MNIST_FILES.values() for name in names]
        found = [_find(Path(self.config.data_dir), name) for name in names]
        files = [DIGITS_FILE] if self.config.source == "digits" else [path for path in found if path is not None]
        return {"source": self.config.source, "fingerprint": fingerprint_files(files)}

    def setup(self, stage: str | None = None) -> None:
        """Splits the training data into training and validation, fixed by the seed."""
        if self.datasets.train is not None:
            return
        if self.config.source == "digits":
            train, test = read_digits()
        else:
            train, test = (read_mnist(Path(self.config.data_dir), split) for split in ("train", "test"))
        images, labels = train
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(self.config.seed))
        num_val = max(1, round(self.config.val_fraction * len(labels)))
        val, rest = order[:num_val], order[num_val:]
        self.datasets.train = InMemoryDataset(images[rest], labels[rest])
        self.datasets.val = InMemoryDataset(images[val], labels[val])
        self.datasets.test = InMemoryDataset(*test)

    def example_batch(self) -> Any:
        """Returns two black images."""
        images = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8)
        return self.transform_batch((images, torch.zeros(2, dtype=torch.long)), "train")

    def transform_batch(self, batch: Any, split: Split) -> Any:
        """Normalises the images of a batch."""
        images, labels = batch
        return normalize(images), labels


@shape_checked
def normalize(images: UInt8[Tensor, "B 28 28"]) -> Float[Tensor, "B 1 28 28"]:
    """Scales pixels to mean 0 and standard deviation 1, by MNIST's own figures."""
    return images.unsqueeze(1).float().mul_(1 / (255 * STD)).sub_(MEAN / STD)


def has_mnist(data_dir: Path) -> bool:
    """Returns whether MNIST's four files lie in `data_dir/MNIST/raw`, plain or gzipped."""
    return all(_find(data_dir, name) is not None for names in MNIST_FILES.values() for name in names)


@shape_checked
def read_mnist(data_dir: Path, split: Literal["train", "test"]) -> tuple[UInt8[Tensor, "N 28 28"], Int[Tensor, " N"]]:
    """Reads MNIST's images and labels.

    Args:
        data_dir: Holds `MNIST/raw`.
        split: Which half.

    Raises:
        ConfigError: a file is not what its name says.
    """
    images, labels = (torch.from_numpy(_read_idx(data_dir, name)) for name in MNIST_FILES[split])
    return images, labels.long()


@shape_checked
def read_digits() -> tuple[
    tuple[UInt8[Tensor, "train 28 28"], Int[Tensor, " train"]], tuple[UInt8[Tensor, "test 28 28"], Int[Tensor, " test"]]
]:
    """Reads the shipped digits, resized to 28×28. Every fifth is for testing, so all 13 writers are in both halves."""
    with np.load(DIGITS_FILE) as file:
        ink, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"]).long()
    pixels = ink.unsqueeze(1).float() * (255 / DIGITS_MAX_INK)
    resized = functional.interpolate(pixels, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    images = resized.squeeze(1).round().to(torch.uint8)
    is_test = torch.arange(len(labels)) % DIGITS_TEST_EVERY == DIGITS_TEST_EVERY - 1
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])


def warn_of_digits(data_dir: Path, failure: str) -> None:
    """Says, so that nobody can overlook it, that the data is not MNIST."""
    line = "=" * 100
    log.warning(
        "%s\nNOT MNIST: training on the 1,797 digits that are shipped with the project.\n"
        "MNIST is not in %s, and could not be downloaded (%s).\n"
        "For MNIST: config.data_dir=<the folder that holds MNIST/raw>. "
        "To choose the digits on purpose: datamodule.config.source=digits.\n%s",
        line,
        data_dir,
        failure,
        line,
    )


@functools.cache
def download_mnist(data_dir: Path) -> str | None:
    """Downloads MNIST with torchvision, from its mirrors and by its checksums; tried once per process.

    Args:
        data_dir: Receives `MNIST/raw`.

    Returns:
        None, or why it failed, in a few words.
    """
    try:
        import_torchvision()
        from torchvision.datasets import MNIST
    except ImportError:
        return "torchvision is not installed"
    try:
        with _timeout(DOWNLOAD_TIMEOUT_S):
            MNIST(str(data_dir), download=True)
    except (OSError, RuntimeError) as error:
        return str(error).strip().splitlines()[-1]
    return None


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Lets connections that do not answer fail soon."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _find(data_dir: Path, name: str) -> Path | None:
    candidates = [data_dir / "MNIST" / "raw" / name, data_dir / "MNIST" / "raw" / f"{name}.gz"]
    return next((path for path in candidates if path.is_file()), None)


def _read_idx(data_dir: Path, name: str) -> np.ndarray:
    """Reads an IDX file of bytes: a magic number whose last byte is the number of axes, their lengths, the content."""
    path = _find(data_dir, name)
    assert path is not None
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        content = b""
    num_axes = content[3] if len(content) > 3 else 0
    header = 4 + 4 * num_axes
    shape = np.frombuffer(content, ">u4", count=num_axes, offset=4) if len(content) >= header else np.zeros(0)
    if content[:3] != b"\x00\x00\x08" or len(content) != header + int(np.prod(shape)):
        raise ConfigError(f"{path} is not an IDX file of bytes, or is cut short. Delete it and run again.")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape.astype(int)).copy()
