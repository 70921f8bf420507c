"""Whatever the state of a repository: its code comes back bit for bit, or the record says what is missing.

The oracle is a walk of the work tree with plain Python, which knows nothing of git.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.run.record import ChangedFile, Git
from common.run.restored import restore_code
from common.run.uncommitted import git_state

FILES = {
    ".gitignore": b"/data/\n/private/\n*.ignored\n__pycache__/\n",
    "README.md": b"A repository.\n",
    "common/__init__.py": b"",
    "common/tool.py": b"VALUE = 1\n",
    "common/deep/down/more.py": b"MORE = 1\n",
    "projects/__init__.py": b"",
    "projects/mine/train.py": b"import sys\n",
    "projects/mine/task/fnn.yaml": b"seed: 0\n",
    "projects/mine/table.bin": bytes(range(256)),
    "projects/other/train.py": b"other = 1\n",
    "run.sh": b"#!/bin/sh\n",
}
PROJECT = "projects/mine"

Entries = dict[str, tuple[str, bytes]]


class Repository:
    """A scratch repository whose state a test changes.

    Attributes:
        root: The folder of the code.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        """Calls git, as a person does."""
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
        words = ["git", *identity, *arguments]
        ended = subprocess.run(words, cwd=folder or self.root, capture_output=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.decode().strip()

    def write(self, name: str, content: bytes | str) -> Path:
        """Writes a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def commit(self, name: str, content: bytes | str) -> Path:
        """Writes a file and commits it."""
        path = self.write(name, content)
        self.git("add", "--force", "--", name)
        self.git("commit", "--quiet", "--message", name.encode("ascii", "replace").decode())
        return path

    def configure(self, key: str, value: str) -> None:
        """Sets something for the repository and, as a person may have, for all."""
        self.git("config", key, value)
        self.git("config", "--global", key, value)

    def state(self) -> Git:
        """Returns the state as a run records it."""
        return git_state(self.root, self.root / PROJECT)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as it is after its first commit."""
    repository = Repository(tmp_path_factory.mktemp("pristine") / "repository")
    repository.root.mkdir()
    repository.git("init", "--quiet", "--initial-branch", "main")
    for name, content in FILES.items():
        repository.write(name, content)
    (repository.root / "run.sh").chmod(0o755)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "first")
    return repository.root


@pytest.fixture
def repository(pristine: Path, tmp_path: Path) -> Repository:
    """A repository to be changed."""
    shutil.copytree(pristine, tmp_path / "repository", symlinks=True)
    return Repository(tmp_path / "repository")


def entries_of(folder: Path) -> Entries:
    """Returns what lies below a folder, by name: what it is, and what it holds. Git's folders are passed over."""
    found: Entries = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in (*names, *folders):
            path = Path(place, name)
            if path.is_symlink():
                found[str(path.relative_to(folder))] = ("link", os.fsencode(path.readlink()))
            elif path.is_file() and name != ".git":
                kind = "program" if path.stat().st_mode & 0o100 else "file"
                with path.open("rb") as file:
                    found[str(path.relative_to(folder))] = (kind, file.read(3_000_000))
            elif not path.is_dir() and name != ".git":
                found[str(path.relative_to(folder))] = ("special", b"")
    return found


def check(repository: Repository, state: Git, scratch: Path) -> Entries:
    """Checks that a state gives the code back, or names what it does not; returns what was restored."""
    there = entries_of(repository.root)
    if not state.commit:
        assert state.problems
        return {}
    restore_code(state, repository.root, scratch)
    restored = entries_of(scratch)
    said = " ".join(state.problems)
    is_sparse = (repository.root / ".git/info/sparse-checkout").exists()
    wrong = [
        name
        for name in {*there, *restored}
        if there.get(name) != restored.get(name)
        and not (is_sparse and name not in there)
        and not (there.get(name) == ("special", b"") and name not in restored)
        and not any(part in said for part in (name, Path(name).name))
    ]
    assert wrong == []
    return restored


STATES: dict[str, Callable[[Repository], None]] = {}


def a_state(change: Callable[[Repository], None]) -> Callable[[Repository], None]:
    """Registers a state."""
    STATES[change.__name__] = change
    return change


@a_state
def clean(repository: Repository) -> None:
    pass


@a_state
def edited(repository: Repository) -> None:
    repository.write("common/tool.py", "VALUE = 2\n")


@a_state
def staged(repository: Repository) -> None:
    repository.write("common/tool.py", "VALUE = 2\n")
    repository.write("common/new.dat", b"\0\1")
    repository.git("add", "--all")


@a_state
def staged_and_edited_again(repository: Repository) -> None:
    repository.write("common/tool.py", "VALUE = 2\n")
    repository.git("add", "--all")
    repository.write("common/tool.py", "VALUE = 3\n")


@a_state
def intent_to_add(repository: Repository) -> None:
    repository.write("common/new.py", "NEW = 1\n")
    repository.git("add", "--intent-to-add", "common/new.py")


@a_state
def untracked(repository: Repository) -> None:
    repository.write("common/new.py", "NEW = 1\n")
    repository.write("projects/mine/task/new.yaml", "seed: 1\n")


@a_state
def untracked_data_and_notes(repository: Repository) -> None:
    repository.write("projects/mine/weights.npz", b"PK")
    repository.write("notes.md", "a secret thought")


@a_state
def deleted(repository: Repository) -> None:
    (repository.root / "common/deep/down/more.py").unlink()


@a_state
def deletion_staged_but_kept(repository: Repository) -> None:
    repository.git("rm", "--quiet", "--cached", "common/tool.py")


@a_state
def renamed(repository: Repository) -> None:
    repository.git("mv", "common/tool.py", "common/instrument.py")


@a_state
def mode_changed(repository: Repository) -> None:
    (repository.root / "common/tool.py").chmod(0o755)
    (repository.root / "run.sh").chmod(0o644)


@a_state
def mode_changed_where_git_ignores_modes(repository: Repository) -> None:
    repository.configure("core.fileMode", "false")
    (repository.root / "run.sh").chmod(0o644)


@a_state
def file_became_folder(repository: Repository) -> None:
    (repository.root / "common/tool.py").unlink()
    repository.write("common/tool.py/__init__.py", "VALUE = 2\n")


@a_state
def folder_became_file(repository: Repository) -> None:
    shutil.rmtree(repository.root / "common/deep")
    repository.write("common/deep", "no folder")
    repository.git("add", "--all")


@a_state
def file_became_link(repository: Repository) -> None:
    (repository.root / "common/tool.py").rename(repository.root / "common/other.py")
    (repository.root / "common/tool.py").symlink_to("other.py")


@a_state
def link_became_file(repository: Repository) -> None:
    (repository.root / "common/alias.py").symlink_to("tool.py")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "link")
    (repository.root / "common/alias.py").unlink()
    repository.write("common/alias.py", "VALUE = 4\n")


@a_state
def folder_became_link(repository: Repository) -> None:
    (repository.root / "common/deep").rename(repository.root / "lib")
    (repository.root / "common/deep").symlink_to("../lib")


@a_state
def links_tracked_and_not(repository: Repository) -> None:
    (repository.root / "common/a.py").symlink_to("tool.py")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "link")
    (repository.root / "common/b.py").symlink_to("a.py")
    (repository.root / "common/nowhere.py").symlink_to("is/not/there.py")


@a_state
def pipe(repository: Repository) -> None:
    os.mkfifo(repository.root / "common/pipe.py")


@a_state
def tracked_became_pipe(repository: Repository) -> None:
    (repository.root / "common/tool.py").unlink()
    os.mkfifo(repository.root / "common/tool.py")


@a_state
def binary_changed(repository: Repository) -> None:
    repository.write("projects/mine/table.bin", bytes(range(255, -1, -1)))


@a_state
def binary_taken_for_text(repository: Repository) -> None:
    repository.commit(".gitattributes", "*.bin diff text\n")
    repository.write("projects/mine/table.bin", b"\0\r\n\xff\n\n\r")


@a_state
def crlf_added_and_changed(repository: Repository) -> None:
    repository.commit("common/windows.py", b"A = 1\r\nB = 2\r\n")
    repository.write("common/windows.py", b"A = 1\r\nB = 3\r\n")
    repository.write("common/more.py", b"C = 1\r\n")


@a_state
def lone_carriage_returns(repository: Repository) -> None:
    repository.commit("common/mac.py", b"A = 1\rB = 2\r")
    repository.write("common/mac.py", b"A = 1\rB = 3\r\n\r\n")


@a_state
def no_newline_at_the_end(repository: Repository) -> None:
    repository.write("common/tool.py", b"VALUE = 1")


@a_state
def trailing_blanks(repository: Repository) -> None:
    repository.configure("core.whitespace", "trailing-space,space-before-tab,blank-at-eof")
    repository.configure("apply.whitespace", "fix")
    repository.write("common/tool.py", b"VALUE = 1   \n \t\n\n\n")


@a_state
def autocrlf(repository: Repository) -> None:
    repository.configure("core.autocrlf", "true")
    for name in ("common/tool.py", "common/deep/down/more.py"):
        (repository.root / name).unlink()
    repository.git("checkout", "--", ".")
    assert b"\r\n" in (repository.root / "common/tool.py").read_bytes()
    repository.write("common/deep/down/more.py", b"MORE = 2\n")


@a_state
def line_ends_by_attribute(repository: Repository) -> None:
    repository.commit(".gitattributes", "*.py text=auto eol=crlf\n*.yaml ident\n")
    repository.write("common/tool.py", b"VALUE = 2\r\n")
    repository.write("projects/mine/task/fnn.yaml", b"seed: 0  # $Id$\n")


@a_state
def encoding_by_attribute(repository: Repository) -> None:
    repository.commit(".gitattributes", "*.cfg working-tree-encoding=UTF-16\n")
    repository.write("common/wide.cfg", "a = 1\n".encode("utf-16"))


@a_state
def not_utf8(repository: Repository) -> None:
    repository.commit("common/latin.py", b"# \xe9\n")
    repository.write("common/latin.py", b"# \xe9\xe8\n")
    repository.write(os.fsdecode(b"common/\xff\xfe.py"), b"# \xff\n")


@a_state
def odd_names(repository: Repository) -> None:
    for name in ("common/a\nb.py", 'common/"quoted".py', "common/ blank .py", "common/tab\t.py", "common/\\.py"):
        repository.commit(name, "x = 1\n")
        repository.write(name, "x = 2\n")
    repository.write("common/new\nline.py", "x = 3\n")
    repository.write("common/-n.py", "x = 3\n")
    repository.write("common/ünï.py", "x = 3\n")


@a_state
def edited_in_the_second_of_the_commit(repository: Repository) -> None:
    for number in range(50):  # A second may end in between.
        path = repository.commit(f"common/quick{number}.py", "A = 1\n")
        before = path.stat()
        path.write_text("A = 2\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        if int(path.stat().st_ctime) == int(before.st_ctime):
            return


@a_state
def index_of_the_future(repository: Repository) -> None:
    edited_in_the_second_of_the_commit(repository)
    os.utime(repository.root / ".git/index", (4_000_000_000, 4_000_000_000))


@a_state
def assume_unchanged(repository: Repository) -> None:
    repository.git("update-index", "--assume-unchanged", "common/tool.py")
    repository.write("common/tool.py", "VALUE = 2\n")


@a_state
def skip_worktree(repository: Repository) -> None:
    repository.git("update-index", "--skip-worktree", "common/tool.py", "common/deep/down/more.py")
    repository.write("common/tool.py", "VALUE = 2\n")
    (repository.root / "common/deep/down/more.py").unlink()


@a_state
def without_an_index(repository: Repository) -> None:
    (repository.root / ".git/index").unlink()


@a_state
def with_a_broken_index(repository: Repository) -> None:
    (repository.root / ".git/index").write_bytes(b"DIRC\0\0\0\x09 broken")


@a_state
def index_locked(repository: Repository) -> None:
    repository.write("common/tool.py", "VALUE = 2\n")
    (repository.root / ".git/index.lock").touch()


@a_state
def split_index_and_monitor(repository: Repository) -> None:
    repository.configure("core.splitIndex", "true")
    repository.configure("core.untrackedCache", "true")
    repository.configure("core.fsmonitor", "touch hacked; false")
    repository.write("common/tool.py", "VALUE = 2\n")


@a_state
def ignored_but_running(repository: Repository) -> None:
    repository.write(".git/info/exclude", "/projects/mine/extra.py\n/common/local/\n")
    repository.write("projects/mine/extra.py", "x = 1\n")
    repository.write("common/local/__init__.py", "x = 1\n")


@a_state
def ignored_project(repository: Repository) -> None:
    repository.git("rm", "--quiet", "-r", "--cached", "projects/mine")
    repository.commit(".gitignore", FILES[".gitignore"] + b"/projects/mine/\n")
    repository.write("projects/mine/train.py", "import os\n")


@a_state
def ignored_but_tracked(repository: Repository) -> None:
    repository.commit("common/kept.ignored", "1\n")
    repository.write("common/kept.ignored", "2\n")


@a_state
def large_untracked(repository: Repository) -> None:
    with (repository.root / "common/large.json").open("wb") as file:
        file.truncate(300_000_000)


@a_state
def large_tracked(repository: Repository) -> None:
    path = repository.commit("large.bin", bytes(2_000_000))
    path.write_bytes(bytes(1_999_999) + b"\1")


@a_state
def large_deleted(repository: Repository) -> None:
    repository.commit("large.bin", os.urandom(2_000_000)).unlink()


@a_state
def many_files_changed(repository: Repository) -> None:
    for number in range(120):
        repository.write(f"common/many/file{number}.py", f"x = {number}\n")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "many")
    for number in range(0, 120, 3):
        repository.write(f"common/many/file{number}.py", f"x = -{number}\n")


@a_state
def keys_by_name(repository: Repository) -> None:
    for name in (".env", "WANDB_KEY.txt~", "projects/mine/credentials.json", "id_rsa", "common/server.pem"):
        repository.write(name, "0123456789abcdef")


@a_state
def nested_repository(repository: Repository) -> None:
    repository.write("common/tool.py", "VALUE = 2\n")
    repository.git("init", "--quiet", "scratch")
    repository.write("scratch/try.py", "x = 1\n")


@a_state
def nested_repository_with_commits(repository: Repository) -> None:
    repository.git("init", "--quiet", "common/vendored")
    Repository(repository.root / "common/vendored").commit("lib.py", "x = 1\n")
    repository.write("common/vendored/lib.py", "x = 2\n")


@a_state
def nested_repository_added(repository: Repository) -> None:
    nested_repository_with_commits(repository)
    repository.git("-c", "advice.addEmbeddedRepo=false", "add", "common/vendored")
    repository.git("commit", "--quiet", "--message", "embedded")


@a_state
def with_a_submodule(repository: Repository) -> None:
    other = Repository(repository.root.parent / "other")
    other.root.mkdir()
    other.git("init", "--quiet")
    other.commit("lib.py", "x = 1\n")
    repository.git("submodule", "--quiet", "add", str(other.root), "projects/mine/lib")
    repository.git("commit", "--quiet", "--message", "submodule")
    repository.write("projects/mine/lib/lib.py", "x = 2\n")


@a_state
def is_a_submodule(repository: Repository) -> None:
    parent = Repository(repository.root.parent / "parent")
    parent.root.mkdir()
    parent.git("init", "--quiet")
    parent.git("submodule", "--quiet", "add", str(repository.root), "code")
    repository.root = parent.root / "code"
    edited(repository)


@a_state
def is_a_subfolder(repository: Repository) -> None:
    parent = Repository(repository.root.parent / "parent")
    parent.root.mkdir()
    parent.git("init", "--quiet")
    parent.write("beside.py", "x = 1\n")
    shutil.rmtree(repository.root / ".git")
    repository.root = repository.root.rename(parent.root / "the code")
    parent.git("add", "--all")
    parent.git("commit", "--quiet", "--message", "all")
    parent.write("beside.py", "x = 2\n")
    untracked(repository)
    edited(repository)


@a_state
def is_an_untracked_subfolder(repository: Repository) -> None:
    shutil.rmtree(repository.root / ".git")
    parent = Repository(repository.root.parent)
    parent.git("init", "--quiet")
    parent.commit("beside.py", "x = 1\n")


@a_state
def is_a_worktree(repository: Repository) -> None:
    repository.git("worktree", "add", "--quiet", "--detach", str(repository.root.parent / "tree"))
    repository.root = repository.root.parent / "tree"
    edited(repository)


@a_state
def is_shallow(repository: Repository) -> None:
    repository.commit("common/second.py", "x = 1\n")
    source, repository.root = repository.root, repository.root.parent / "shallow"
    repository.git("clone", "--quiet", "--depth", "1", f"file://{source}", str(repository.root), folder=source)
    edited(repository)


@a_state
def is_a_shared_clone(repository: Repository) -> None:
    source, repository.root = repository.root, repository.root.parent / "shared"
    repository.git("clone", "--quiet", "--shared", str(source), str(repository.root), folder=source)
    edited(repository)


@a_state
def is_sparse(repository: Repository) -> None:
    repository.git("status")
    repository.git("sparse-checkout", "set", "--no-cone", "/common/", "/projects/mine/")
    assert not (repository.root / "projects/other").exists()
    repository.write("common/tool.py", "VALUE = 2\n")


@a_state
def has_a_sparse_index(repository: Repository) -> None:
    repository.git("sparse-checkout", "set", "--cone", "--sparse-index", "common", "projects/mine")
    repository.write("common/tool.py", "VALUE = 2\n")


@a_state
def is_of_sha256(repository: Repository) -> None:
    shutil.rmtree(repository.root / ".git")
    repository.git("init", "--quiet", "--object-format=sha256")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "first")
    edited(repository)


@a_state
def is_of_another_owner(repository: Repository) -> None:
    if os.geteuid():
        pytest.skip("only root may give files away")
    edited(repository)
    for path in (repository.root, repository.root / ".git"):
        os.chown(path, 65534, 65534)


@a_state
def detached(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--detach")
    edited(repository)


@a_state
def merge_in_progress(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit("common/tool.py", "VALUE = 2\n")
    repository.git("checkout", "--quiet", "main")
    repository.commit("common/tool.py", "VALUE = 3\n")
    with pytest.raises(AssertionError):
        repository.git("merge", "side")
    assert b"<<<<" in (repository.root / "common/tool.py").read_bytes()


@a_state
def rebase_in_progress(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit("common/tool.py", "VALUE = 2\n")
    repository.git("checkout", "--quiet", "main")
    repository.commit("common/tool.py", "VALUE = 3\n")
    with pytest.raises(AssertionError):
        repository.git("rebase", "side")


@a_state
def diff_configured(repository: Repository) -> None:
    settings = {"external": "true", "noprefix": "true", "context": "0", "mnemonicPrefix": "true", "renames": "copies"}
    for key, value in settings.items():
        repository.configure(f"diff.{key}", value)
    repository.configure("color.ui", "always")
    repository.configure("core.quotePath", "false")
    repository.configure("core.pager", "false")
    repository.git("mv", "run.sh", "start.sh")
    edited(repository)


@a_state
def text_conversion(repository: Repository) -> None:
    repository.commit(".gitattributes", "*.py diff=upper\n*.bin binary\n")
    repository.configure("diff.upper.textconv", "tr a-z A-Z <")
    repository.configure("diff.upper.command", "true")
    edited(repository)
    binary_changed(repository)


@a_state
def filter_that_is_missing(repository: Repository) -> None:
    """As of git-lfs, where it is not installed."""
    repository.commit(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    repository.configure("filter.lfs.clean", "no-such-program-lfs clean -- %f")
    repository.configure("filter.lfs.smudge", "no-such-program-lfs smudge -- %f")
    repository.configure("filter.lfs.required", "true")
    binary_changed(repository)
    edited(repository)


@a_state
def filter_that_changes(repository: Repository) -> None:
    """As of git-lfs, where it is installed: git has a pointer, the work tree has the content."""
    repository.configure("filter.lfs.clean", "sha256sum")
    repository.configure("filter.lfs.smudge", "printf content")
    repository.commit(".gitattributes", "*.bin filter=lfs -text\n")
    repository.commit("projects/mine/table.bin", b"content")


@a_state
def hooks_that_fail(repository: Repository) -> None:
    for name in ("post-checkout", "post-index-change", "pre-commit", "reference-transaction"):
        hook = repository.write(f".git/hooks/{name}", "#!/bin/sh\ntouch hacked\nexit 1\n")
        hook.chmod(0o755)
    edited(repository)


@a_state
def signatures_required(repository: Repository) -> None:
    repository.configure("commit.gpgSign", "true")
    repository.configure("gpg.program", "false")
    edited(repository)


@a_state
def replaced_objects(repository: Repository) -> None:
    blob = repository.git("rev-parse", "HEAD:common/tool.py")
    other = repository.git("hash-object", "-w", "README.md")
    repository.git("replace", blob, other)
    repository.write("common/tool.py", FILES["README.md"])


@a_state
def variables_of_git(repository: Repository) -> None:
    """Set by the fixture `in_odd_environment`, as by a hook that starts a run."""
    edited(repository)


@a_state
def no_commit(repository: Repository) -> None:
    shutil.rmtree(repository.root / ".git")
    repository.git("init", "--quiet")


@a_state
def commit_gone(repository: Repository) -> None:
    repository.write(".git/refs/heads/main", "0" * 39 + "1\n")


@a_state
def object_missing(repository: Repository) -> None:
    blob = repository.git("rev-parse", "HEAD:common/tool.py")
    (repository.root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    edited(repository)


@a_state
def no_repository(repository: Repository) -> None:
    shutil.rmtree(repository.root / ".git")


@a_state
def broken_repository(repository: Repository) -> None:
    (repository.root / ".git/HEAD").write_text("nonsense")


@a_state
def broken_configuration(repository: Repository) -> None:
    (repository.root / ".git/config").write_text("[core\n")


@a_state
def format_of_the_future(repository: Repository) -> None:
    repository.git("config", "core.repositoryFormatVersion", "99")


@a_state
def bare(repository: Repository) -> None:
    repository.git("config", "core.bare", "true")


NOT_WHOLE = {
    "untracked_data_and_notes", "tracked_became_pipe", "ignored_project", "large_untracked", "large_tracked",
    "keys_by_name", "is_an_untracked_subfolder", "no_commit", "commit_gone", "no_repository", "broken_repository",
    "broken_configuration", "format_of_the_future", "bare", "with_a_broken_index",
}  # fmt: skip
"""States of which something cannot be recorded, or never is."""


@pytest.mark.parametrize("name", STATES)
def test_the_code_comes_back_or_it_is_said_what_does_not(
    name: str, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    STATES[name](repository)
    if name == "variables_of_git":
        monkeypatch.setenv("GIT_DIR", "/nonexistent")
        monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
        monkeypatch.setenv("GIT_EXTERNAL_DIFF", "true")
    before = entries_of(repository.root)
    state = repository.state()
    assert bool(state.problems) is (name in NOT_WHOLE)
    check(repository, state, tmp_path / "scratch")
    assert entries_of(repository.root) == before
    assert not list(tmp_path.rglob("hacked"))


@pytest.mark.parametrize("is_tracked", [True, False])
def test_code_behind_a_link_that_leaves_the_repository_comes_back_in_its_place(
    repository: Repository, tmp_path: Path, is_tracked: bool
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "__init__.py").write_text("VALUE = 7\n")
    (repository.root / PROJECT / "linked").symlink_to(library)
    (repository.root / PROJECT / "alone.py").symlink_to("../../../library/__init__.py")
    if is_tracked:
        repository.git("add", "--all")
        repository.git("commit", "--quiet", "--message", "links")
    state = repository.state()
    assert state.problems == []
    shutil.rmtree(library)
    restore_code(state, repository.root, tmp_path / "scratch")
    project = tmp_path / "scratch" / PROJECT
    assert not (project / "linked").is_symlink()
    assert (project / "linked" / "__init__.py").read_text() == "VALUE = 7\n"
    assert (project / "alone.py").read_text() == "VALUE = 7\n"


def test_keys_are_in_no_copy_and_their_files_are_named(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what a file holds now, nor what the commit had in its place."""
    key = "0123456789abcdef"
    monkeypatch.setenv("WANDB_API_KEY", key)
    repository.commit("common/tool.py", f"KEY = '{key}'\nVALUE = 1\n")
    repository.write("common/tool.py", f"KEY = '{key}'\nVALUE = 2\n")
    repository.write(".env", key)
    state = repository.state()
    assert key not in repr(state)
    assert state.changed["common/tool.py"].text == "KEY = '<WANDB_API_KEY>'\nVALUE = 2\n"
    assert [problem.partition(":")[0] for problem in state.problems] == [".env", "common/tool.py"]


def test_what_is_recorded_is_bounded_whatever_lies_around(repository: Repository) -> None:
    for number in range(12):
        repository.write(f"common/table{number:02d}.json", "0" * 950_000)
    with (repository.root / "common/huge.json").open("wb") as file:
        file.truncate(300_000_000)
    state = repository.state()
    assert len(state.changed) == 10
    assert [problem.partition(":")[0] for problem in state.problems] == [
        "common/huge.json", "common/table10.json, common/table11.json"
    ]  # fmt: skip
    assert len(state.uncommitted_diff) < 400_000


def test_the_diff_is_for_people_to_read(repository: Repository) -> None:
    repository.write("common/tool.py", "VALUE = 2\n")
    diff = repository.state().uncommitted_diff
    assert diff.startswith("diff --git a/common/tool.py b/common/tool.py\n")
    assert diff.endswith("@@ -1 +1 @@\n-VALUE = 1\n+VALUE = 2\n")


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", ".git/config", ""])
def test_a_record_that_leads_elsewhere_is_refused(repository: Repository, tmp_path: Path, name: str) -> None:
    state = repository.state()
    state.changed[name] = ChangedFile("100644", text="x")
    with pytest.raises(ConfigError, match="is no file of the code"):
        restore_code(state, repository.root, tmp_path / "scratch")


def test_a_record_that_writes_through_a_link_is_refused(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (repository.root / "way").symlink_to(tmp_path / "target")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "link")
    state = repository.state()
    state.changed["way/out"] = ChangedFile("100644", text="x")
    with pytest.raises(ConfigError, match="through a link"):
        restore_code(state, repository.root, tmp_path / "scratch")
    assert not list((tmp_path / "target").iterdir())
