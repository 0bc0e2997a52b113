from __future__ import annotations

import errno
import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from maskexp.data import DataError
from maskexp.data.downloads import archives
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
        (member("data/inside", tarfile.SYMTYPE, "good"), "link"),
        (member("data/hard", tarfile.LNKTYPE, "data/good"), "link"),
        (member("data/hard", tarfile.LNKTYPE, "data/missing"), "link"),
        (member("data/device", tarfile.CHRTYPE), "a device"),
        (member("data/pipe", tarfile.FIFOTYPE), "a device"),
        (member("data/good"), "the path is in it twice, before as a file"),
        (member("data//./good"), "the path is in it twice, before as a file"),
        (member("data/good", tarfile.DIRTYPE), "'data/good' is a file in it as well"),
        (member("data/good/below"), "'data/good' is a file in it as well"),
        (member("data"), "the path is in it twice, before as a folder"),
    ],
)
def test_unsafe_members_are_refused_by_name_and_nothing_is_left(bad: tarfile.TarInfo, why: str, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "data.tgz", member("data/good"), bad)

    with pytest.raises(DataError) as caught:
        extract(archive, tmp_path / "deep/root")

    assert str(caught.value).startswith(f"{archive} is not unpacked: its member {bad.name!r} is unsafe (")
    assert why in str(caught.value)
    assert not (tmp_path / "deep").exists()
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
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_appears_whole(mode: str, tmp_path: Path) -> None:
    members = (member("data", tarfile.DIRTYPE), member("data/a"), member("./attributes.txt"))
    extract(write_tar(tmp_path / "data.tar", *members, mode=mode), tmp_path / "root")

    assert (tmp_path / "root/data/a").read_text() == "xxxxx"
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
    for content in (whole[: len(whole) // 2], b"no archive", b"", whole[:40] + b"\0" * 40 + whole[80:], whole[:-9]):
        refuse_damaged(archive, content)


def refuse_damaged(archive: Path, content: bytes) -> None:
    archive.write_bytes(content)
    root = archive.parent / "root"
    with pytest.raises(DataError) as caught:
        extract(archive, root)
    assert str(caught.value) == f"{archive} is damaged or no archive; get it again"
    assert not root.exists()


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_every_compression_that_is_cut_or_damaged_is_one_sentence(mode: str, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "data.tar", *(member(f"data/{k}") for k in range(50)), mode=mode)
    whole = archive.read_bytes()
    for place in (24, len(whole) // 3, len(whole) // 2, len(whole) - 12):
        refuse_damaged(
            archive, whole[:place] + bytes(255 - byte for byte in whole[place : place + 8]) + whole[place + 8 :]
        )
        refuse_damaged(archive, whole[:place])


def test_an_encrypted_zip_is_one_sentence(tmp_path: Path) -> None:
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("a", "fine")
    raw = bytearray(archive.read_bytes())
    raw[6] |= 1  # the flag in the local header
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    archive.write_bytes(raw)
    with pytest.raises(DataError, match=r"data\.zip is encrypted; unpack it yourself, with its password"):
        extract(archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/"), ("a/b", "a"), ("a", "a/b")])
def test_a_zip_that_holds_a_path_twice(names: tuple[str, str], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as content:
        for name in names:
            content.writestr(name, "" if name.endswith("/") else "x")
    with pytest.raises(DataError, match=r"data\.zip is not unpacked: its member '.*' is unsafe \(.*in it"):
        extract(tmp_path / "data.zip", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_path_that_links_make_longer_than_any_leads_nowhere(tmp_path: Path) -> None:
    """Where ``realpath`` gives up, Python's own filter has let a hard link through."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder, members = "", []
    for step in "abcdefghijklmnop":
        members.append(member(folder + step * 247, tarfile.DIRTYPE))
        members.append(member(folder + step, tarfile.SYMTYPE, step * 247))
        folder += step + "/"
    members.append(member(f"{folder}{'l' * 254}", tarfile.SYMTYPE, "../" * 16))
    members.append(member("escape", tarfile.SYMTYPE, f"{folder}{'l' * 254}/../../outside"))
    members += [member("hard", tarfile.LNKTYPE, "escape"), member("hard")]
    archive = write_tar(tmp_path / "data.tar", *members, mode="w")
    with pytest.raises(DataError, match=r"data\.tar is not unpacked: its member 'a' is unsafe \(it is a link\)"):
        extract(archive, tmp_path / "root")
    assert outside.read_text() == "mine"
    assert not (tmp_path / "root").exists()


def test_a_path_too_long_for_the_disk(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "data.tar", member("/".join(["x" * 200] * 30)), member("y" * 300), mode="w")
    with pytest.raises(DataError, match=r"data\.tar is not unpacked: a path in it is too long for the disk"):
        extract(archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_more_than_is_expected_is_not_unpacked(tmp_path: Path) -> None:
    big = member("data/zeros")
    big.size = 5_000_000
    archive = write_tar(tmp_path / "data.tgz", big)
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("data/zeros", b"\0" * big.size)
    for path in (archive, tmp_path / "data.zip"):
        with pytest.raises(
            DataError, match=r"holds more than the 4\.0 MB that are expected of it; .* --max_unpacked GB"
        ):
            extract(path, tmp_path / "root", most=4_000_000)
        assert not (tmp_path / "root").exists()
    extract(archive, tmp_path / "root", most=big.size)
    assert (tmp_path / "root/data/zeros").stat().st_size == big.size


def test_twice_its_own_size_and_a_little_is_what_an_archive_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SPARE", 1000)
    for name, content in (("plain", b"\1\2\3\4" * 100), ("bomb", b"\0" * 1_000_000)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data/x", content)
    extract(tmp_path / "plain.zip", tmp_path / "root")
    with pytest.raises(DataError, match=r"bomb\.zip is not unpacked: it holds more than the 0\.0 MB that are expected"):
        extract(tmp_path / "bomb.zip", tmp_path / "other")


def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    header = member("x", tarfile.XHDTYPE)
    header.size = 100_000_000
    archive = tmp_path / "data.tgz"
    with gzip.open(archive, "wb") as file:
        file.write(header.tobuf() + b"\0" * header.size)
    with pytest.raises(DataError, match=r"data\.tgz is damaged or no archive"):
        extract(archive, tmp_path / "root")


def test_a_disk_that_is_full_half_way_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    archive = write_tar(tmp_path / "data.tgz", member("data/a"))
    with pytest.raises(DataError, match=r"data\.tgz is not unpacked: the disk of \S+root is full \(\S+ GB are left\)"):
        extract(archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_what_was_moved_is_taken_back_if_the_rest_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def once(self: Path, target: Path) -> Path:
        if self.name == "b":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", once)
    archive = write_tar(tmp_path / "data.tgz", member("a/x"), member("b/x"))
    with pytest.raises(OSError, match="Input/output error"):
        extract(archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("cut", [0, 300])
def test_a_plain_tar_that_was_cut(cut: int, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "data.tar", *(member(f"data/{k}") for k in range(50)), mode="w")
    archive.write_bytes(archive.read_bytes()[: 20 * 1024 + cut])  # before and within a header
    with pytest.raises(DataError, match=r"data\.tar is damaged or no archive"):
        extract(archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()


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
