"""Two checkpoints of the same name are told apart."""

from __future__ import annotations

from pathlib import Path

from inference.checkpoints.revisions import of_file, of_folder

MB = 1024 * 1024


def test_a_file_is_told_from_another_by_its_ends_and_its_size(tmp_path: Path) -> None:
    contents = [b"", b"a", b"b", b"a" + bytes(3 * MB), bytes(3 * MB) + b"a", bytes(3 * MB + 1), bytes(3 * MB + 2)]
    revisions = []
    for content in contents:
        (tmp_path / "model.gguf").write_bytes(content)
        revisions.append(of_file(tmp_path / "model.gguf"))
    assert len(set(revisions)) == len(contents)
    assert of_file(tmp_path / "model.gguf") == revisions[-1]


def test_a_file_that_cannot_be_read_has_none(tmp_path: Path) -> None:
    assert of_file(tmp_path / "none.gguf") == ""


def test_a_snapshot_from_the_hub_has_its_commit(tmp_path: Path) -> None:
    assert of_folder(tmp_path / "models--a--b" / "snapshots" / "4f0c1d") == "4f0c1d"


def test_another_folder_is_known_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = of_folder(tmp_path)
    (tmp_path / "README.md").write_text("words")
    assert of_folder(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(b"WEIGHTS")
    assert of_folder(tmp_path) != before != ""
