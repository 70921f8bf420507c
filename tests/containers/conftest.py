"""A builder of images: buildah without a daemon, in a store of its own, on a Debian base made here."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

RELEASE = "bookworm"


@dataclass
class Builder:
    """Runs buildah.

    Attributes:
        store: Where it keeps images.
        base: Name of a minimal Debian image.
    """

    store: Path
    base: str = "localhost/base:latest"

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command of buildah's; its output, errors included, is in `stdout`."""
        options = ["--root", str(self.store / "root"), "--runroot", str(self.store / "run")]
        result = subprocess.run(
            ["buildah", *options, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert not check or result.returncode == 0, result.stdout[-3000:]
        return result

    def build(self, folder: Path, tag: str, check: bool = True, **arguments: str) -> subprocess.CompletedProcess[str]:
        """Builds the Dockerfile of a folder, with the package indexes that pip is told to use here."""
        given, volumes = {"BASE": self.base} | arguments, []
        if certificate := os.environ.get("PIP_CERT"):
            given["PIP_CERT"] = "/site-ca.crt"
            volumes += ["--volume", f"{certificate}:/site-ca.crt:ro"]
        if wheels := os.environ.get("PIP_FIND_LINKS"):  # A site's own wheels: torch's CPU build is among them.
            given |= {"PIP_FIND_LINKS": "/wheels", "TORCH_INDEX": ""}
            volumes += ["--volume", f"{wheels}:/wheels:ro"]
        words = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
        return self("bud", "--isolation", "chroot", "--layers", *volumes, *words, "-t", tag, str(folder), check=check)

    def run(self, image: str, *words: str, folders: dict[Path, str], **environment: str) -> str:
        """Runs a command in a container of an image, with folders mounted; returns its output."""
        container = self("from", image).stdout.split()[-1]
        options = [option for folder, at in folders.items() for option in ("--volume", f"{folder}:{at}")]
        options += [option for name, value in environment.items() for option in ("--env", f"{name}={value}")]
        try:
            return self("run", "--isolation", "chroot", *options, container, "--", *words).stdout
        finally:
            self("rm", container)


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """A builder that starts with nothing but its base."""
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"images are built by root with buildah and debootstrap; missing: {missing or 'root'}")
    store = tmp_path_factory.mktemp("store")
    builder = Builder(store)
    subprocess.run(
        ["debootstrap", "--variant=minbase", RELEASE, str(store / "debian")], check=True, capture_output=True
    )
    container = builder("from", "scratch").stdout.split()[-1]
    builder("add", "--quiet", container, str(store / "debian"), "/")
    builder("commit", "--quiet", container, builder.base)
    builder("rm", container)
    yield builder
    builder("rmi", "--all", "--force")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A copy of what the Dockerfile reads, to be spoilt."""
    folder = tmp_path / "context"
    folder.mkdir()
    for name in ("Dockerfile", ".dockerignore", "requirements.txt"):
        shutil.copy(REPOSITORY / name, folder)
    shutil.copytree(REPOSITORY / "containers", folder / "containers")
    return folder


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository as it lies here, with what git does not ignore."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder
