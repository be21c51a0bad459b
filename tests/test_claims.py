"""The table "the lecture says / you measured" and its bands."""

from __future__ import annotations

import pytest

from dlcourse_utils import claims
from dlcourse_utils.claims import BandError, Claim, show


@pytest.mark.parametrize(
    ("measured", "at_least", "at_most", "holds"),
    [(1.0, None, None, True), (1.0, 1.0, 1.0, True), (0.9, 1.0, None, False), (1.1, None, 1.0, False), (float("nan"), None, None, False)],
)
def test_a_claim_holds_inside_its_band(measured: float, at_least: float | None, at_most: float | None, holds: bool) -> None:
    assert Claim("x", "y", measured, at_least, at_most).holds is holds


@pytest.mark.parametrize(
    ("at_least", "at_most", "words"),
    [(1, None, "at least 1"), (None, 2.5, "at most 2.5"), (1, 2, "at least 1 and at most 2"), (7, 7.0, "exactly 7"), (None, None, "reported, not held")],
)
def test_a_band_is_put_in_words(at_least: float | None, at_most: float | None, words: str) -> None:
    assert Claim("x", "y", 7.0, at_least, at_most).band == words


def test_every_row_outside_its_band_is_named() -> None:
    with pytest.raises(BandError, match=r"^loss: measured 2, expected at most 1; error: measured 0.1, expected at least 0.5$"):
        show(Claim("loss", "falls", 2.0, at_most=1.0), Claim("fine", "so", 1.0), Claim("error", "grows", 0.1, at_least=0.5))


def test_the_table_is_shown_even_when_a_band_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(claims, "display", lambda table: shown.append(table.data))
    with pytest.raises(BandError):
        show(Claim("loss", "falls <fast>", 2.0, at_most=1.0, unit="nats"), Claim("weights", "counted", 524288))
    assert "<td>524288</td>" in shown[0]
    assert "<td>reported, not held</td><td>–</td>" in shown[0]
    assert "falls &lt;fast&gt;" in shown[0]
    assert "2 nats" in shown[0]
    assert '<th scope="col" style="text-align:left">the lecture says</th><th scope="col">you measured</th>' in shown[0]
    assert "NO" in shown[0]
