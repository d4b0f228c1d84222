"""The peers of the truecasing benchmark, each as a function from a message to the message recased.

They get one sentence at a time; sacremoses is trained on the same text as ours, in its mode for
text without case; and since truecase and sacremoses tokenise the text and join it again, which
loses line breaks and spacing, only the case of their letters is taken over (``project``).
sacremoses does not capitalise a sentence that opens with a bullet, a quotation mark or bold type;
it is therefore run a second time with those marks cut off, a kindness that its own users would have
to write. truecase's shipped model is a pickle.
"""

import re
from collections.abc import Callable

TOKENS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[^\w\s]").findall
SENTENCES = re.compile(r"(?<=[.!?])\s+|\n+")
NAIVE = re.compile(r"(^|[.!?]\s+)([a-z])")
LEADING_MARKS = re.compile(r"^[\W_]+")

Recase = Callable[[str], str]


def sentences(text: str, from_first_letter: bool = False) -> list[str]:
    """The sentences of a message; on request without the marks (bullets, bold, quotes) that they
    open with.
    """
    pieces = SENTENCES.split(text)
    if from_first_letter:
        pieces = [LEADING_MARKS.sub("", piece) for piece in pieces]
    return [piece for piece in pieces if piece.strip()]


def project(source: str, output: str) -> str:
    """The source with the case of the output's letters; the source where the letters are not the
    same.
    """
    letters = [letter for letter in output if letter.isalpha()]
    slots = [place for place, letter in enumerate(source) if letter.isalpha()]
    if [a.lower() for a in letters] != [source[place].lower() for place in slots]:
        return source
    result = list(source)
    for place, letter in zip(slots, letters, strict=True):
        result[place] = letter
    return "".join(result)


def naive_regex(text: str) -> str:
    """A capital after every full stop, question or exclamation mark: what one writes first."""
    return NAIVE.sub(lambda match: match[0].upper(), text)


def sacremoses_trained(texts: list[str], from_first_letter: bool = False) -> Recase:
    """MosesTruecaser in ASR mode with its detruecaser, trained on these texts."""
    from sacremoses import MosesDetruecaser, MosesTruecaser

    truecaser, detruecaser = MosesTruecaser(is_asr=True), MosesDetruecaser()
    truecaser.train(
        [TOKENS(piece) for text in texts for piece in sentences(text, from_first_letter)]
    )

    def recase(text: str) -> str:
        pieces = [" ".join(TOKENS(piece)) for piece in sentences(text, from_first_letter)]
        cased = [truecaser.truecase(piece, return_str=True) for piece in pieces]
        return " ".join(detruecaser.detruecase(piece, return_str=True) for piece in cased)

    return recase


def truecase_shipped() -> Recase:
    """truecase with the model that it ships, its sentence splitter replaced by one that needs no
    download.
    """
    import nltk.tokenize
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    splitter = PunktSentenceTokenizer()
    nltk.tokenize.sent_tokenize = lambda text, language="english": splitter.tokenize(text)
    from truecase.TrueCaser import TrueCaser

    truecaser = TrueCaser()

    def recase(text: str) -> str:
        return " ".join(truecaser.get_true_case(piece, "as-is") for piece in sentences(text))

    return recase
