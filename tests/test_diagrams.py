"""The chapters' diagrams: in step with what draws them, true to the tokenizer, readable, and shown
with their words.
"""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import diagram_rows as rows
import diagrams
import jupytext
import pytest
from contrast import contrast
from diagram_kit import DARK, LIGHT, WIDTH, Drawing
from page_drawings import DRAWING, add_drawings, as_figures

ROOT = Path(__file__).resolve().parents[1]
SVG = "{http://www.w3.org/2000/svg}"
PHONE = 343  # pixels of a column on a screen of 375
LETTERS = {"small": 14, "code": 15}


def chapters_text():
    """The text cells of all chapters, by chapter."""
    texts = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.py")):
        cells = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells
        texts[path.stem] = [cell.source for cell in cells if cell.cell_type == "markdown"]
    return texts


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_a_file_is_what_its_drawing_gives(name):
    path = diagrams.FIGURES / f"{name}.svg"
    assert path.read_text(encoding="utf-8") == diagrams.DIAGRAMS[name]().svg(), (
        "run: python tools/diagrams.py"
    )
    assert path.stat().st_size < 8_000


def test_every_file_has_a_drawing_and_every_drawing_a_chapter():
    shown = re.findall(r"\]\(figures/([\w-]+)\.svg\)", str(chapters_text()))
    files = {path.stem for path in diagrams.FIGURES.iterdir()}
    assert files == set(diagrams.DIAGRAMS) == set(shown) and len(shown) == len(set(shown))


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_a_chapter_shows_the_drawing_with_its_description_and_a_caption(name):
    texts = [text for cells in chapters_text().values() for text in cells]
    [drawing] = [
        one for text in texts for one in DRAWING.finditer(text) if f"/{name}.svg" in one["path"]
    ]
    assert " ".join(drawing["alt"].split()) == diagrams.DIAGRAMS[name]().description
    assert len(drawing["caption"].split()) > 15


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_a_drawing_needs_nothing_from_elsewhere_and_says_what_it_is(name):
    text = diagrams.DIAGRAMS[name]().svg()
    root = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "desc", "style", "defs", "pattern"),
        *("circle", "path", "polygon", "rect", "text"),
    }
    assert "@import" not in text and not re.search(r"url\((?!#hatch\))|href", text)
    assert root.get("role") == "img" and len(root.find(f"{SVG}desc").text) > 100


@pytest.mark.parametrize("name", diagrams.DIAGRAMS)
def test_words_lie_on_the_sheet_and_can_be_read_on_a_phone(name):
    root = ElementTree.fromstring(diagrams.DIAGRAMS[name]().svg())
    _, _, width, height = map(float, root.get("viewBox").split())
    for element in root.iter(f"{SVG}text"):
        kinds = (element.get("class") or "").split()
        letter = min([LETTERS[kind] for kind in kinds if kind in LETTERS], default=16)
        assert letter * PHONE / WIDTH > 10.5
        long = len(element.text) * letter * (0.6 if "code" in kinds else 0.54)
        shift = {"middle": 0.5, "end": 1.0}.get(element.get("text-anchor"), 0.0)
        left = float(element.get("x")) - shift * long
        assert left >= 0 and left + long <= width, f"{element.text!r} leaves the sheet"
        assert 0 < float(element.get("y")) < height


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_words_stand_out_from_every_ground_they_lie_on(palette):
    grounds = ("paper", "tint-grey")
    pairs = [(ink, ground) for ink in ("ink", "quiet", "blue", "orange") for ground in grounds]
    pairs += [("blue", "tint-blue"), ("orange", "tint-orange"), ("ink", "tint-blue")]
    for ink, ground in pairs:
        assert contrast(palette[ink], palette[ground]) >= 4.5, f"{ink} on {ground}"


def test_the_tokens_and_lengths_are_the_miniatures():
    from zephyr_utils import chat, miniature  # here, since the other tests need no torch

    tokenizer = chat.load_tokenizer(Path(miniature.__file__).parent / "base")
    chat.prepare_tokenizer(tokenizer)

    def exchange(question, answer):
        turns = (("user", question), ("assistant", answer))
        return [{"role": role, "content": content} for role, content in turns]

    def read(question, answer):
        return chat.token_view(tokenizer, exchange(question, answer))

    for answer, line in (
        (rows.CHOSEN, rows.CHOSEN_LINE),
        (rows.REJECTED, rows.REJECTED_LINE),
    ):
        turns = (("user", rows.USER_LINE), ("assistant", line))
        drawn = [token for role, words in turns for token in rows.marker(role) + words]
        views = read(rows.QUESTION, answer)
        assert drawn == [view.text if view.text == "\n" else view.text.strip() for view in views]
    counted = [view.in_loss for view in read(rows.QUESTION, rows.CHOSEN)]
    assert counted == [False] * 17 + [True] * 8 + [False], "as the dashed line has it"
    for question, answer, length in rows.PACKED:
        assert len(read(question, answer)) == length


def test_an_arrow_is_level_or_upright_and_small_numbers_are_short():
    drawing = Drawing(10, title="t", description="d")
    drawing.arrow(0, 5, 10.04, 5)
    drawing.arrow(3, 9, 3, 1)
    assert drawing.shapes[0].endswith('d="M0 5 L10 5 m-6 -5 L10 5 l-6 5"/>')
    assert drawing.shapes[1].endswith('d="M3 9 L3 1 m-5 6 L3 1 l5 6"/>')


def test_on_the_page_an_image_and_its_caption_are_one_figure():
    text = (
        'Before.\n\n![Two\n"boxes".](figures/a-b.svg)\n\n*What $x$ is,\nand why.*\n\nAfter *all*.'
    )
    assert as_figures(text) == (
        "Before.\n\n```{figure} figures/a-b.svg\n:alt: \"Two 'boxes'.\"\n\n"
        "What $x$ is,\nand why.\n```\n\nAfter *all*."
    )
    assert as_figures("![No caption](figures/a.svg)\n\nText.") == (
        "![No caption](figures/a.svg)\n\nText."
    )


def test_the_website_gets_the_files(tmp_path):
    (tmp_path / "pages").mkdir()
    add_drawings(ROOT / "notebooks", tmp_path / "pages")
    copied = {path.stem for path in (tmp_path / "pages" / "figures").iterdir()}
    assert copied == set(diagrams.DIAGRAMS)
