"""Handwritten digits: what is served, where it comes from, and what is said when it is not there."""

import gzip
import json
import logging
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from common.errors import ConfigError
from projects.classify_mnist import datamodule as module
from projects.classify_mnist.datamodule import MNISTDataModule, MNISTDataModuleConfig

REPOSITORY = Path(__file__).resolve().parents[2]
REAL_DATA = REPOSITORY.parent / "shared" / "data"
needs_mnist = pytest.mark.skipif(not (REAL_DATA / "MNIST").is_dir(), reason=f"MNIST is not in {REAL_DATA}")

NUM_TRAIN, NUM_TEST = 12, 5


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reaches a network, and none sees that another has tried."""

    def refuse(*_: Any) -> None:
        raise OSError("the network is blocked in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    download = module.download_mnist
    download.cache_clear()
    yield
    download.cache_clear()


def make(data_dir: Path, **settings: Any) -> MNISTDataModule:
    """Returns a data module of the digits, unless told otherwise."""
    config = MNISTDataModuleConfig(data_dir=str(data_dir), **{"source": "digits"} | settings)
    return MNISTDataModule(config, partial(DataLoader))


def ready(data_dir: Path, **settings: Any) -> MNISTDataModule:
    made = make(data_dir, **settings)
    made.prepare_data()
    made.setup()
    return made


def idx(array: np.ndarray) -> bytes:
    """Returns an array of bytes in the IDX format (http://yann.lecun.com/exdb/mnist)."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    """A folder with a few images in MNIST's own files; the training images are gzipped."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        images_name, labels_name = module.MNIST_FILES[split]
        images = np.arange(count * 784, dtype=np.uint64).astype(np.uint8).reshape(count, 28, 28)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (raw / labels_name).write_bytes(idx(labels))
        if split == "train":
            (raw / f"{images_name}.gz").write_bytes(gzip.compress(idx(images)))
        else:
            (raw / images_name).write_bytes(idx(images))
    return tmp_path


def rows(dataset: Any) -> set[bytes]:
    return {bytes(image.numpy().tobytes()) for image in dataset.tensors[0]}


# --- the shipped digits


def test_digits_are_images_of_bytes_with_labels(tmp_path: Path) -> None:
    datasets = ready(tmp_path).datasets
    for dataset, count in ((datasets.train, 1318), (datasets.val, 120), (datasets.test, 359)):
        images, labels = dataset.tensors  # type: ignore[union-attr]
        assert images.shape == (count, 28, 28)
        assert images.dtype == torch.uint8
        assert labels.shape == (count,)
        assert labels.dtype == torch.int64
        assert set(labels.tolist()) == set(range(10))
    assert 1318 + 120 + 359 == 1797


def test_digits_use_the_whole_range_of_brightness(tmp_path: Path) -> None:
    images = ready(tmp_path).datasets.train.tensors[0]  # type: ignore[union-attr]
    assert images.min() == 0
    assert images.max() == 255


def test_batches_are_normalised_by_mnists_figures(tmp_path: Path) -> None:
    images = torch.randint(256, (4, 28, 28), dtype=torch.uint8)
    labels = torch.arange(4)
    for split in ("train", "val", "test"):
        inputs, same = make(tmp_path).transform_batch((images, labels), split)
        assert inputs.shape == (4, 1, 28, 28)
        torch.testing.assert_close(inputs[:, 0], (images / 255 - 0.1307) / 0.3081)
        assert torch.equal(same, labels)


def test_viewing_undoes_the_normalisation() -> None:
    from projects.classify_mnist.litmodule import MNISTClassificationLitModule

    images = torch.randint(256, (1, 28, 28), dtype=torch.uint8)
    viewed = MNISTClassificationLitModule.view_input(None, module.normalize(images)[0])  # type: ignore[arg-type]
    torch.testing.assert_close(viewed, images[0] / 255)


def test_split_is_fixed_by_the_seed(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = ready(tmp_path, seed=3).datasets
    torch.manual_seed(2)
    second, other = ready(tmp_path, seed=3).datasets, ready(tmp_path, seed=4).datasets
    for split in ("train", "val"):
        assert torch.equal(getattr(first, split).tensors[0], getattr(second, split).tensors[0])
        assert not torch.equal(getattr(first, split).tensors[0], getattr(other, split).tensors[0])


def test_test_set_is_the_same_for_every_seed(tmp_path: Path) -> None:
    first, other = ready(tmp_path, seed=3).datasets.test, ready(tmp_path, seed=4).datasets.test
    assert torch.equal(first.tensors[0], other.tensors[0])  # type: ignore[union-attr]


def test_splits_share_no_image(tmp_path: Path) -> None:
    datasets = ready(tmp_path).datasets
    train, val, test = rows(datasets.train), rows(datasets.val), rows(datasets.test)
    assert not train & val
    assert not train & test
    assert not val & test


@pytest.mark.parametrize(("fraction", "num_val"), [(0.25, 360), (0.0001, 1)])
def test_validation_gets_its_fraction_and_at_least_one(tmp_path: Path, fraction: float, num_val: int) -> None:
    datasets = ready(tmp_path, val_fraction=fraction).datasets
    assert len(datasets.val) == num_val  # type: ignore[arg-type]
    assert len(datasets.train) == 1438 - num_val  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"val_fraction": 0.0}, {"val_fraction": 1.0}, {"source": "cifar"}], ids=str)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(wrong))):
        MNISTDataModuleConfig(data_dir="somewhere", **wrong)


# --- MNIST's own files


def test_idx_files_are_read_plain_and_gzipped(small_mnist: Path) -> None:
    for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        images, labels = module.read_mnist(small_mnist, split)  # type: ignore[arg-type]
        assert images.shape == (count, 28, 28)
        assert images.flatten().tolist() == [number % 256 for number in range(count * 784)]
        assert labels.tolist() == [number % 10 for number in range(count)]


def test_mnists_own_test_set_is_the_test_set(small_mnist: Path) -> None:
    datasets = ready(small_mnist, source="mnist", val_fraction=0.25).datasets
    assert torch.equal(datasets.test.tensors[0], module.read_mnist(small_mnist, "test")[0])  # type: ignore[union-attr]
    labels = torch.cat([datasets.train.tensors[1], datasets.val.tensors[1]])  # type: ignore[union-attr]
    assert sorted(labels.tolist()) == sorted(number % 10 for number in range(NUM_TRAIN))
    assert len(datasets.val) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:10],
        lambda content: b"",
        lambda content: b"<html>Not found</html>",
        lambda content: b"\0\0\x0d" + content[3:],
    ],
    ids=["cut short", "too long", "cut in the header", "empty", "foreign", "not bytes"],
)
def test_damaged_file_is_named(small_mnist: Path, damage: Callable[[bytes], bytes]) -> None:
    path = small_mnist / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError) as error:
        module.read_mnist(small_mnist, "test")
    assert str(error.value) == f"{path} is not an IDX file of bytes, or is cut short. Delete it and run again."


@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(b"x" * 1000)[:-20]], ids=["foreign", "cut short"])
def test_damaged_gzip_file_is_named(small_mnist: Path, content: bytes) -> None:
    path = small_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"train-images-idx3-ubyte\.gz is not an IDX file of bytes, or is cut short"):
        module.read_mnist(small_mnist, "train")


# --- where the data comes from


def test_auto_is_mnist_where_its_files_are(small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "download_mnist", None)
    made = ready(small_mnist, source="auto")
    assert made.config.source == "mnist"
    assert len(made.datasets.test) == NUM_TEST  # type: ignore[arg-type]


def test_auto_is_mnist_where_it_can_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "download_mnist", lambda _: None)
    made = make(tmp_path, source="auto")
    made.prepare_data()
    assert made.config.source == "mnist"


def test_auto_is_the_digits_otherwise_and_nobody_can_overlook_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "download_mnist", lambda _: "no route to host")
    made = make(tmp_path, source="auto")
    with caplog.at_level(logging.WARNING):
        made.prepare_data()
    assert made.config.source == "digits"
    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    lines = warning.getMessage().splitlines()
    assert lines[0] == lines[-1] == "=" * 100
    assert lines[1:-1] == [
        "NOT MNIST: training on the 1,797 digits that are shipped with the project.",
        f"MNIST is not in {tmp_path}, and could not be downloaded (no route to host).",
        "For MNIST: config.data_dir=<the folder that holds MNIST/raw>. To choose the digits on purpose: "
        "datamodule.config.source=digits.",
    ]


def test_one_missing_file_means_that_mnist_is_not_there(small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "download_mnist", lambda _: "no route to host")
    (small_mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    made = make(small_mnist, source="auto")
    made.prepare_data()
    assert made.config.source == "digits"


def test_mnist_that_is_asked_for_and_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "download_mnist", lambda _: "no route to host")
    with pytest.raises(ConfigError) as error:
        make(tmp_path, source="mnist").prepare_data()
    text = str(error.value)
    assert text.startswith(f"MNIST is not in {tmp_path}/MNIST/raw and cannot be downloaded: no route to host.")
    assert "config.data_dir=<folder>" in text
    assert "datamodule.config.source=digits" in text


def test_digits_on_purpose_look_for_nothing_and_warn_of_nothing(
    small_mnist: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "download_mnist", None)
    made = ready(small_mnist, source="digits")
    assert made.config.source == "digits"
    assert len(made.datasets.test) == 359  # type: ignore[arg-type]
    assert not caplog.records


def test_torchvision_is_imported_only_for_a_download(small_mnist: Path) -> None:
    script = f"""
        import sys
        from functools import partial
        from torch.utils.data import DataLoader
        from projects.classify_mnist.datamodule import MNISTDataModule, MNISTDataModuleConfig
        import projects.classify_mnist.train
        for source in ("auto", "mnist", "digits"):
            module = MNISTDataModule(MNISTDataModuleConfig({str(small_mnist)!r}, source=source), partial(DataLoader))
            module.prepare_data()
            module.setup()
            next(iter(module.train_dataloader()))
        print([name for name in sys.modules if name.startswith("torchvision")])
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert result.stdout.strip() == "[]"


# --- the download


class Stuck:
    """Stands for torchvision's class; its download fails as a blocked network makes it fail."""

    calls = 0
    timeout: float | None = None

    def __init__(self, *_: Any, **__: Any) -> None:
        Stuck.calls += 1
        Stuck.timeout = socket.getdefaulttimeout()
        raise RuntimeError(
            "Error downloading train-images-idx3-ubyte.gz:\nTried https://one\n<urlopen error timed out>"
        )


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> type[Stuck]:
    """A torchvision whose downloads fail."""
    import types

    datasets = types.ModuleType("torchvision.datasets")
    datasets.MNIST = Stuck  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    monkeypatch.setattr(module, "import_torchvision", lambda: None)
    monkeypatch.setattr(Stuck, "calls", 0)
    return Stuck


def test_failed_download_gives_its_reason_in_a_few_words(tmp_path: Path, stuck: type[Stuck]) -> None:
    assert module.download_mnist(tmp_path) == "<urlopen error timed out>"


def test_download_waits_seconds_for_a_server_and_restores_the_limit(tmp_path: Path, stuck: type[Stuck]) -> None:
    before = socket.getdefaulttimeout()
    module.download_mnist(tmp_path)
    assert stuck.timeout == module.DOWNLOAD_TIMEOUT_S <= 5
    assert socket.getdefaulttimeout() == before


def test_download_is_tried_once_per_process(tmp_path: Path, stuck: type[Stuck]) -> None:
    for _ in range(3):
        make(tmp_path, source="auto").prepare_data()
    assert stuck.calls == 1


def test_missing_torchvision_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("No module named 'torchvision'")

    monkeypatch.setattr(module, "import_torchvision", missing)
    assert module.download_mnist(tmp_path) == "torchvision is not installed"


# --- a whole run


@pytest.mark.slow
def test_source_that_auto_found_is_recorded_by_the_run(tmp_path: Path) -> None:
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.enable_progress_bar=false"]
    script = f"""
        import sys
        from projects.classify_mnist import datamodule
        from projects.classify_mnist.train import TaskRunner
        datamodule.download_mnist = lambda _: "no route to host"
        sys.argv = [{str(REPOSITORY / "projects/classify_mnist/train.py")!r}, "task=fnn", "logger=none", *{short!r}]
        TaskRunner.run_task()
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={"AI_RESEARCH_PATH": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert result.stderr.count("NOT MNIST") == 1
    (folder,) = (tmp_path / "data" / "classify_mnist" / "fnn").iterdir()
    assert "source: digits" in (folder / ".hydra" / "config.yaml").read_text()
    assert json.loads((folder / "provenance.json").read_text())["data"]["source"] == "digits"


# --- the real MNIST


@needs_mnist
def test_real_mnist_has_its_known_counts_and_figures() -> None:
    made = ready(REAL_DATA, source="auto")
    assert made.config.source == "mnist"
    counts = [len(getattr(made.datasets, split)) for split in ("train", "val", "test")]
    assert counts == [55_000, 5_000, 10_000]
    images, labels = module.read_mnist(REAL_DATA, "train")
    assert labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert images.float().mean().item() / 255 == pytest.approx(module.MEAN, abs=1e-4)
    assert images.float().std().item() / 255 == pytest.approx(module.STD, abs=1e-4)
