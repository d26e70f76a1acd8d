"""Every adapter can be described without its library, and the page says what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.document import KEPT, PAGE, page
from benchmarks.peers.compare import compare
from benchmarks.peers.peer import NAMES, load_peer


@pytest.mark.parametrize("name", ["ours", *NAMES])
def test_an_adapter_needs_no_library_to_be_described(name: str) -> None:
    peer = load_peer(name)

    assert peer.packages and peer.durability and peer.setup
    for form in peer.forms:
        assert peer.command(Path("/env"), 7, "redis://localhost:1/0", form)


def test_an_unknown_peer_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peers", "--only", "rabbit"]) == 2

    said = capsys.readouterr().err
    assert "no peer 'rabbit'" in said and "dramatiq" in said
    assert len(said.splitlines()) == 1


def test_nothing_to_measure_is_an_empty_document() -> None:
    class Empty:
        def peer(self, name: str) -> object:
            raise AssertionError(name)

    result = compare(Empty(), [], [], 3, lambda text: None)  # type: ignore[arg-type]

    assert (result["peers"], result["tables"]) == ([], [])


def test_the_page_of_benchmarks_is_what_its_results_say() -> None:
    assert PAGE.read_text() == page(KEPT), "make bench-docs"
