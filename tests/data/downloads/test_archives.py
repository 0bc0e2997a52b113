from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from maskexp.data import DataError
from maskexp.data.downloads.archives import extract


def write_tar(path: Path, *members: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 5 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (member("../evil"), "its path leads upwards"),
        (member("data/../../evil"), "its path leads upwards"),
        (member("/tmp/evil"), "its path is absolute"),  # noqa: S108
        (member("C:\\evil"), "its path is absolute"),
        (member("..\\evil"), "its path leads upwards"),
        (member("data/link", tarfile.SYMTYPE, "../../evil"), "link"),
        (member("data/link", tarfile.SYMTYPE, "/etc/passwd"), "link"),
        (member("data/hard", tarfile.LNKTYPE, "../evil"), "link"),
        (member("data/device", tarfile.CHRTYPE), "special file"),
        (member("data/pipe", tarfile.FIFOTYPE), "special file"),
    ],
)
def test_unsafe_members_are_refused_by_name_and_nothing_is_left(bad: tarfile.TarInfo, why: str, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "data.tgz", member("data/good"), bad)

    with pytest.raises(DataError) as caught:
        extract(archive, tmp_path / "deep/root")

    assert str(caught.value).startswith(f"{archive} is not unpacked: its member {bad.name!r} is unsafe (")
    assert why in str(caught.value)
    assert list((tmp_path / "deep").rglob("*")) == [tmp_path / "deep/root"]
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(("name", "mode"), [("../evil", 0), ("/evil", 0), ("a/link", 0o120777), ("a/pipe", 0o010644)])
def test_unsafe_members_of_a_zip(name: str, mode: int, tmp_path: Path) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("a/good", "fine")
        archive.writestr(info, "/etc/passwd")

    with pytest.raises(DataError, match=rf"data\.zip is not unpacked: its member '{name}' is unsafe"):
        extract(tmp_path / "data.zip", tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_appears_whole(mode: str, tmp_path: Path) -> None:
    members = (member("data/a"), member("data/link", tarfile.SYMTYPE, "a"), member("attributes.txt"))
    extract(write_tar(tmp_path / "data.tar", *members, mode=mode), tmp_path / "root")

    assert (tmp_path / "root/data/link").read_text() == "xxxxx", "a link inside is fine"
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == ["attributes.txt", "data"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "data.tgz", member("data/a"))
    left = tmp_path / "root/.data.tgz.part/data/half"
    left.parent.mkdir(parents=True)
    left.write_text("half")

    extract(archive, tmp_path / "root")

    assert [path.name for path in sorted((tmp_path / "root").rglob("*"))] == ["data", "a"]


def test_a_damaged_archive_leaves_nothing(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "data.tgz", *(member(f"data/{k}") for k in range(50)))
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive", whole[:40] + b"\0" * 40 + whole[80:]):
        archive.write_bytes(content)
        with pytest.raises(DataError, match=r"data\.tgz is damaged or no archive \(.+\); get it again"):
            extract(archive, tmp_path / "root")
        assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize("cut", [0, 300])
def test_a_plain_tar_that_was_cut(cut: int, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "data.tar", *(member(f"data/{k}") for k in range(50)), mode="w")
    archive.write_bytes(archive.read_bytes()[: 20 * 1024 + cut])  # before and within a header
    with pytest.raises(DataError, match=r"data\.tar is damaged or no archive \(its end is missing\)"):
        extract(archive, tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "root/data").mkdir(parents=True)
    with pytest.raises(DataError, match=r"root/data is there already; delete it"):
        extract(write_tar(tmp_path / "data.tgz", member("data/a"), member("b")), tmp_path / "root")
    assert [path.name for path in (tmp_path / "root").rglob("*")] == ["data"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_tar(tmp_path / "data.tgz", member("data/a"))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DataError, match=r"unpacking \S+ needs about \S+ MB but the disk of \S+ has 0\.0 MB left"):
        extract(archive, tmp_path / "root")
