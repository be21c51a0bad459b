"""The table "the lecture says / you measured", and the bands that its numbers must stay in."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

from IPython.display import HTML, display


class BandError(AssertionError):
    """A measured value is outside the band that the lecture's claim, at this size, was found to hold in."""


@dataclass(frozen=True)
class Claim:
    """One row: what a lecture claims, and what was measured.

    Args:
        what: the quantity, in words.
        lecture: the lecture's figure or statement, with its source.
        measured: the number measured here.
        at_least: lower end of the band; None for no end.
        at_most: upper end of the band; None for no end.
        unit: unit of the measured number.
    """

    what: str
    lecture: str
    measured: float
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the measured number is in its band; NaN is in none."""
        if math.isnan(self.measured):
            return False
        return (self.at_least is None or self.measured >= self.at_least) and (self.at_most is None or self.measured <= self.at_most)

    @property
    def band(self) -> str:
        """The band in words."""
        if self.at_least is not None and self.at_least == self.at_most:
            return f"exactly {self.at_least:g}"
        ends = [f"at least {self.at_least:g}" if self.at_least is not None else "", f"at most {self.at_most:g}" if self.at_most is not None else ""]
        return " and ".join(end for end in ends if end) or "reported, not held"


_TITLES = ("quantity", "the lecture says", "you measured", "band", "in band")  # the first two over text, the others over numbers
_LEFT = ' style="text-align:left"'


def _number(value: float) -> str:
    """Four digits, or all of them where it is a whole number."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def _verdict(claim: Claim) -> str:
    if claim.at_least is None and claim.at_most is None and claim.holds:
        return "–"
    return "yes" if claim.holds else "NO"


def show(*claims: Claim) -> None:
    """Display the claims as a table.

    Raises:
        BandError: a measured number is outside its band; every such row is named.
    """
    rows = "".join(
        f"<tr><td{_LEFT}>{html.escape(c.what)}</td><td{_LEFT}>{html.escape(c.lecture)}</td>"
        f"<td>{_number(c.measured)}{' ' * bool(c.unit)}{html.escape(c.unit)}</td><td>{c.band}</td><td>{_verdict(c)}</td></tr>"
        for c in claims
    )
    titles = "".join(f'<th scope="col"{_LEFT * (i < 2)}>{title}</th>' for i, title in enumerate(_TITLES))
    display(HTML(f"<table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"))  # type: ignore[no-untyped-call]
    outside = [f"{c.what}: measured {c.measured:.4g}, expected {c.band}" for c in claims if not c.holds]
    if outside:
        raise BandError("; ".join(outside))
