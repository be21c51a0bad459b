"""Feedback pages that need nothing from elsewhere: formulae are set as MathML, which browsers show by themselves, and no script is loaded."""

from __future__ import annotations

import html
import re
from typing import Any
from xml.etree import ElementTree

from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

_MATHML = "http://www.w3.org/1998/Math/MathML"
_TAGS = frozenset(
    {
        "math",
        "merror",
        "mfrac",
        "mi",
        "mmultiscripts",
        "mn",
        "mo",
        "mover",
        "mpadded",
        "mphantom",
        "mprescripts",
        "mroot",
        "mrow",
        "ms",
        "mspace",
        "msqrt",
        "mstyle",
        "msub",
        "msubsup",
        "msup",
        "mtable",
        "mtd",
        "mtext",
        "mtr",
        "munder",
        "munderover",
    }
)
#: What an element keeps: how it looks, and neither a link nor a script.
_ATTRIBUTES = frozenset(
    {
        "columnalign",
        "columnlines",
        "depth",
        "display",
        "displaystyle",
        "fence",
        "form",
        "height",
        "linethickness",
        "lspace",
        "mathvariant",
        "maxsize",
        "minsize",
        "movablelimits",
        "rowlines",
        "rowspacing",
        "rspace",
        "scriptlevel",
        "separator",
        "stretchy",
        "symmetric",
        "width",
    }
)
_ELSEWHERE = re.compile(r"""<script[^>]*\ssrc=["'](?:https?:)?//[^>]*>\s*</script>""")
#: nbgrader's list of scores calls every test alike.
_TEST = re.compile(r"""(?<=<a href="#test-)(\w+)((?:-\d+)?">)Test cell(?=</a>)""")


def mathml(tex: str, *, display: bool) -> str | None:
    """A formula as MathML with nothing in it but a formula; None where it is not understood."""
    try:
        root = ElementTree.fromstring(convert(html.unescape(tex), display="block" if display else "inline"))
    except Exception:  # there is no end to what a student's formula may make the converter stumble over
        return None
    for element in root.iter():
        if element.tag.removeprefix(f"{{{_MATHML}}}") not in _TAGS:
            return None
        for name in set(element.attrib) - _ATTRIBUTES:
            del element.attrib[name]
    ElementTree.register_namespace("", _MATHML)
    return ElementTree.tostring(root, encoding="unicode")


class _Renderer(IPythonRenderer):
    """nbconvert's, with formulae set."""

    def block_math(self, body: str) -> str:
        return mathml(body, display=True) or super().block_math(body)

    def inline_math(self, body: str) -> str:
        return mathml(body, display=False) or super().inline_math(body)

    def latex_environment(self, name: str, body: str) -> str:
        inner = body if name.rstrip("*") in ("equation", "displaymath", "math") else rf"\begin{{{name}}}{body}\end{{{name}}}"
        return mathml(inner, display=True) or super().latex_environment(name, body)


class FeedbackExporter(HTMLExporter):
    """nbconvert's HTML for feedback that is read where there may be no network, with each exercise's name in the list of scores."""

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """As nbconvert's, with formulae set."""
        renderer = _Renderer(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            anchor_link_text=self.anchor_link_text,
            exclude_anchor_links=self.exclude_anchor_links,
        )
        text: str = MarkdownWithMath(renderer=renderer).render(source)
        return text

    def from_notebook_node(self, nb: Any, resources: dict[str, Any] | None = None, **kw: Any) -> tuple[str, dict[str, Any]]:  # type: ignore[override]
        text, resources = super().from_notebook_node(nb, resources, **kw)
        return _TEST.sub(r"\1\2Tests of \1", _ELSEWHERE.sub("", text)), resources
