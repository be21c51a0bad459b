"""Feedback pages load nothing from elsewhere, and show formulae without a script; a formula carries no script of a student's either."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from dlcourse_utils.instructor.course import lectures
from dlcourse_utils.instructor.engine.feedback import FeedbackExporter, mathml

pieces = st.sampled_from(
    [r"\text{", "}", "<script>", "</script>", "x", "^2", r"\href{javascript:alert(1)}{y}", "&lt;img&gt;", r"\frac", "{", r"\class{a}{b}", "$", "&"]
)


def page(*cells):
    html, _ = FeedbackExporter(template_name="classic").from_notebook_node(new_notebook(cells=list(cells)))
    return html


@given(st.lists(pieces, max_size=8).map("".join), st.booleans())
def test_formula_becomes_mathml_with_no_link_and_no_script_or_stays_text(tex, display):
    found = mathml(tex, display=display)
    if found is not None:
        for element in ElementTree.fromstring(found).iter():
            assert element.tag.startswith("{http://www.w3.org/1998/Math/MathML}m")
            assert not {"href", "class", "id", "style", "onclick"} & set(element.attrib)
        assert "<script" not in found
        assert "<img" not in found


@pytest.mark.parametrize("source", ["a $x^2$ b", r"$$\frac{a}{b}$$", r"\begin{align} a &= b \\ c &= d \end{align}", r"\begin{equation} a \end{equation}"])
def test_formulae_of_every_kind_are_set(source):
    assert "<math" in page(new_markdown_cell(source))


def test_formula_in_which_our_own_reading_wrote_an_entity_for_a_sign_is_set():
    assert "<mo>&lt;</mo><mi>b</mi>" in page(new_markdown_cell("$a &lt;b$"))


def test_dollars_in_code_stay():
    assert "<code>$x$</code>" in page(new_markdown_cell("`$x$`"))


def test_formula_that_is_not_understood_stays_as_it_was_written():
    assert r"$\frac{$" in page(new_markdown_cell(r"see $\frac{$ there"))


def test_page_loads_nothing_from_elsewhere():
    html = page(new_markdown_cell("# Title\n\n$x$"), new_code_cell("1 + 1"))
    assert re.findall(r"""(?:src|href)=["'](?:https?:)?//[^"']*""", html) == []


def test_every_formula_of_the_course_is_understood(checkout):
    formulae = [
        tex
        for lecture in lectures(checkout)
        for cell in lecture.notebook.cells
        if cell.cell_type == "markdown"
        for tex in re.findall(r"\$\$?([^$]+)\$\$?", cell.source)
    ]
    assert len(formulae) > 100
    assert [tex for tex in formulae if mathml(tex, display=False) is None] == []
