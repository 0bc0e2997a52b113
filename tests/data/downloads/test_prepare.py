from __future__ import annotations

import functools
import hashlib
import http.server
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from maskexp.data import CUB, DataError, DatasetNotFoundError
from maskexp.data.downloads.prepare import prepare_data
from maskexp.data.info import Download
from maskexp.data.registry import DOWNLOADS
from tests.cli.conftest import Command, maskexp
from tests.fixtures import write_cub_tree

__all__ = ["maskexp"]


class Site(http.server.SimpleHTTPRequestHandler):
    """A server that sends parts of a file where it is asked to, and breaks off where it is told to."""

    requests: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    knows_ranges = True
    breaks_after: int | None = None

    def do_GET(self) -> None:
        type(self).requests += (self.path,)
        wanted = self.headers.get("Range", "")
        type(self).ranges += (wanted,)
        path = Path(self.translate_path(self.path))
        if path.suffix == ".html" or not path.is_file():
            return super().do_GET()
        content = path.read_bytes()
        begin = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if self.knows_ranges else 0
        if begin and begin >= len(content):
            return self.send_error(416)
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        self.wfile.write(content[begin:][: self.breaks_after])
        return None

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with CUB's archives, served on this machine as if it were the official site."""
    folder = tmp_path / "site"
    write_cub_tree(tmp_path / "made/CUB_200_2011", beside=True)
    (tmp_path / "made/attributes.txt").write_text("lies beside the folder in the official archive")
    folder.mkdir()
    archives = {"CUB_200_2011": ["CUB_200_2011", "attributes.txt"], "segmentations": ["segmentations"]}
    for name, entries in archives.items():
        with tarfile.open(folder / f"{name}.tgz", "w:gz") as tar:
            for entry in entries:
                tar.add(tmp_path / "made" / entry, entry)
    monkeypatch.setattr(Site, "requests", ())
    monkeypatch.setattr(Site, "ranges", ())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Site, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setitem(DOWNLOADS, "CUB", published(folder, f"http://127.0.0.1:{server.server_address[1]}"))
    monkeypatch.delenv("MASKEXP_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield folder
    server.shutdown()
    server.server_close()


def published(folder: Path, address: str) -> tuple[Download, ...]:
    """Return the files of a folder as the table of sources has them."""
    return tuple(
        Download(path.name, f"{address}/{path.name}", hashlib.md5(path.read_bytes()).hexdigest(), path.stem)  # noqa: S324
        for path in sorted(folder.iterdir())
    )


def test_download_verify_unpack_and_train(site: Path, tmp_path: Path) -> None:
    root = tmp_path / "data/cub"
    said = prepare_data("CUB", root)

    assert [sentence.split(" made of ")[0] for sentence in said] == [f"{root}/CUB_200_2011", f"{root}/segmentations"]
    data = CUB(str(root), cache_dir=str(tmp_path / "cache"), image_size=16, num_workers=0)
    assert data.spec.foreground == "segmentation"
    assert sorted(path.name for path in root.iterdir()) == ["CUB_200_2011", "_raw", "attributes.txt", "segmentations"]

    assert prepare_data("CUB", root) == [
        f"{root}/{name} is there already" for name in ("CUB_200_2011", "segmentations")
    ]
    assert len(Site.requests) == 2, "nothing is downloaded twice"
    shutil.rmtree(root / "segmentations")
    prepare_data("CUB", root)
    assert len(Site.requests) == 2, "archives are kept"


def test_a_changed_file_is_refused_and_not_kept(site: Path, tmp_path: Path) -> None:
    with (site / "segmentations.tgz").open("ab") as file:
        file.write(b"more")

    with pytest.raises(
        DataError, match=r"segmentations\.tgz is not the published segmentations\.tgz: its md5 is \w{32}"
    ):
        prepare_data("CUB", tmp_path / "root")
    assert [path.name for path in (tmp_path / "root/_raw").iterdir()] == ["CUB_200_2011.tgz"]
    assert not (tmp_path / "root/segmentations").exists()


def interrupted(site: Path, root: Path, monkeypatch: pytest.MonkeyPatch, after: int = 1000) -> Path:
    """Let a download break off, and return what is left of it."""
    with monkeypatch.context() as patch:
        patch.setattr(Site, "breaks_after", after)
        size = (site / "CUB_200_2011.tgz").stat().st_size
        sentence = (
            rf"http://\S+/CUB_200_2011\.tgz cannot be downloaded \(the connection broke after {after} of {size} "
            rf"bytes\); try again \({after} bytes are kept\), or get it yourself and put it at {root}/_raw/CUB_200_2011"
        )
        with pytest.raises(DataError, match=sentence):
            prepare_data("CUB", root)
    (left,) = (root / "_raw").iterdir()
    assert left.read_bytes() == (site / "CUB_200_2011.tgz").read_bytes()[:after]
    return left


def test_an_interrupted_download_goes_on(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(site, tmp_path / "root", monkeypatch)

    prepare_data("CUB", tmp_path / "root")

    assert Site.ranges == ("", "bytes=1000-", "")
    kept = sorted((tmp_path / "root/_raw").iterdir())
    assert [path.name for path in kept] == ["CUB_200_2011.tgz", "segmentations.tgz"]
    assert kept[0].read_bytes() == (site / "CUB_200_2011.tgz").read_bytes()


def test_a_server_that_knows_no_ranges_sends_all_again(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(site, tmp_path / "root", monkeypatch)
    monkeypatch.setattr(Site, "knows_ranges", False)

    assert "md5 as published" in prepare_data("CUB", tmp_path / "root")[0]


def test_a_download_that_was_killed_before_it_was_verified(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(site / "CUB_200_2011.tgz", interrupted(site, tmp_path / "root", monkeypatch))

    assert "md5 as published" in prepare_data("CUB", tmp_path / "root")[0]
    assert Site.requests.count("/CUB_200_2011.tgz") == 2


def test_the_beginning_of_another_file_is_given_up(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(site, tmp_path / "root", monkeypatch).write_bytes(b"of another version" * 50)

    with pytest.raises(DataError, match=r"tgz is not the published CUB_200_2011\.tgz: its md5 is \w{32} instead"):
        prepare_data("CUB", tmp_path / "root")
    assert list((tmp_path / "root/_raw").iterdir()) == []
    assert "md5 as published" in prepare_data("CUB", tmp_path / "root")[0]


def test_too_little_room_for_a_download(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))

    with pytest.raises(DataError, match=r"downloading CUB_200_2011\.tgz needs about 0\.0 MB but the disk of \S+ has"):
        prepare_data("CUB", tmp_path / "root")
    assert list((tmp_path / "root/_raw").iterdir()) == []


def test_a_missing_file_and_a_page_instead_of_a_file(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "CUB_200_2011.tgz").unlink()
    with pytest.raises(DataError, match=r"CUB_200_2011\.tgz cannot be downloaded \(.*404.*put it at \S+_raw/CUB_200"):
        prepare_data("CUB", tmp_path / "root")

    (site / "page.html").write_text("quota exceeded")
    first = DOWNLOADS["CUB"][0]
    page = Download(first.file, first.url.replace("CUB_200_2011.tgz", "page.html"), first.md5, first.makes)
    monkeypatch.setitem(DOWNLOADS, "CUB", (page,))
    with pytest.raises(DataError, match="sent a page instead of the file, as Google Drive does"):
        prepare_data("CUB", tmp_path / "root")
    assert list((tmp_path / "root/_raw").iterdir()) == []


def test_offline(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEXP_OFFLINE", "1")
    with pytest.raises(
        DataError, match=r"MASKEXP_OFFLINE is set, so that http://\S+tgz is not downloaded; get it yours"
    ):
        prepare_data("CUB", tmp_path / "root")
    assert Site.requests == ()

    prepare_data("CUB", tmp_path / "root", [site / "segmentations.tgz", site / "CUB_200_2011.tgz"])
    assert (tmp_path / "root/CUB_200_2011/images.txt").is_file()


def test_wrong_archives_at_hand(site: Path, tmp_path: Path) -> None:
    (tmp_path / "CUB_200_2011.tgz").write_bytes(b"another version")
    (tmp_path / "birds.tgz").write_bytes(b"")
    with pytest.raises(DataError, match=r"CUB_200_2011\.tgz is not the published CUB_200_2011\.tgz"):
        prepare_data("CUB", tmp_path / "root", [tmp_path / "CUB_200_2011.tgz"])
    with pytest.raises(DataError, match=r"birds\.tgz is none of the files of CUB; they are CUB_200_2011\.tgz, segm"):
        prepare_data("CUB", tmp_path / "root", [tmp_path / "birds.tgz"])
    with pytest.raises(DatasetNotFoundError, match=r"archive of CUB not found(.|\n)*nowhere\.tgz"):
        prepare_data("CUB", tmp_path / "root", [tmp_path / "nowhere.tgz"])


def test_data_without_a_checksum_is_fetched_by_hand(site: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    message = (
        r"WaterBirds cannot be downloaded by maskexp(.|\n)*get it +https://nlp.stanford.edu(.|\n)*"
        r"unpack it +maskexp data prepare WaterBirds \S+ --raw ARCHIVE"
    )
    with pytest.raises(DatasetNotFoundError, match=message):
        prepare_data("WaterBirds", root)

    name = "waterbird_complete95_forest2water2"
    (tmp_path / name).mkdir()
    (tmp_path / name / "metadata.csv").write_text("img_id")
    with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / name, name)
    (said,) = prepare_data("WaterBirds", root, [tmp_path / f"{name}.tar.gz"])
    assert "no checksum is published, this file has md5" in said
    assert prepare_data("WaterBirds", root) == [f"{root} holds WaterBirds already"]


def test_several_at_once_wait_for_each_other(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    results: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: results.append(prepare_data("CUB", tmp_path / "root"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert len(results) == 3
    assert len(Site.requests) == 2, "the others found what the first had made"
    assert f"another process is writing {tmp_path}/root; waiting for it" in caplog.messages
    err = capsys.readouterr().err
    for bar in ("CUB_200_2011.tgz", "unpacking CUB_200_2011.tgz", "unpacking segmentations.tgz"):
        assert f"{bar} " in err


def test_the_verb(site: Path, tmp_path: Path, maskexp: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKEXP_DATA", str(tmp_path / "all"))
    outcome = maskexp("data", "prepare", "CUB")
    assert outcome.code == 0
    assert f"{tmp_path}/all/cub/CUB_200_2011 made of" in outcome.out
    monkeypatch.delenv("MASKEXP_DATA")

    assert maskexp("data", "prepare", "SyntheticBirds").out.startswith("SyntheticBirds needs no preparation: drawn in")
    mistakes = {
        ("CUBS", "x"): "'CUBS' cannot be prepared; did you mean 'CUB'?",
        ("CUB",): "say where the data goes: maskexp data prepare CUB ROOT, or set MASKEXP_DATA",
    }
    for args, sentence in mistakes.items():
        outcome = maskexp("data", "prepare", *args)
        assert (outcome.code, outcome.complaint) == (2, sentence)


def test_every_source_is_complete() -> None:
    for downloads in DOWNLOADS.values():
        for download in downloads:
            assert download.url.startswith(("https://", "http://data.csail.mit.edu/"))
            assert len(download.md5) == 32
            assert int(download.md5, 16)
            assert download.makes
