"""Writing files whole: their names, their permissions, and links."""

from pathlib import Path

import pytest

from zoo.system.files import write_whole


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_a_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    write_whole(path, "new")
    assert (path.read_text(), mode_of(path)) == ("new", mode)


def test_a_link_is_replaced_and_followed_only_where_that_is_asked_for(tmp_path: Path) -> None:
    real, link = tmp_path / "folder/real", tmp_path / "link"
    real.parent.mkdir()
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to("folder/real")
    write_whole(link, "new", follow=True)
    assert link.is_symlink()
    assert (real.read_text(), mode_of(real)) == ("new", 0o600)
    write_whole(link, "newer")
    assert not link.is_symlink()
    assert mode_of(link) == mode_of(write(tmp_path / "other"))  # neither the link's nor the file's
    assert real.read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "link", "other", "real"]


def write(path: Path) -> Path:
    write_whole(path, "")
    return path


@pytest.mark.parametrize(
    "name", ["字" * 83 + ".csv", "a" * 251 + ".csv", "a" + "字" * 84], ids=["many", "one", "cut"]
)
def test_a_name_may_have_255_bytes(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
