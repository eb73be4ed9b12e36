# ruff: noqa: RUF001 - characters that look like others are the point
"""Texts that tokenizers disagree about, where they do."""

import random
from itertools import pairwise, product
from unicodedata import ucd_3_2_0

_SPACES = (" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", "\u00a0", "\u3000", "\u200b", "\x0b")
_PLANES = 17
_PER_PLANE = 400

_EMOJI = (
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 🏴󠁧󠁢󠁥󠁮󠁧󠁿 England, 🇩🇪🇫🇷 pairs",
    "👍👍🏽👍🏿 ☺️☺ ❤️‍🔥 1️⃣2️⃣#️⃣ 🧑🏻‍🤝‍🧑🏿",
    "🤷🏽‍♀️s're 🤖's 😀😀😀😀 \u200d \ufe0f a\ufe0f",
)

_DIGITS = (
    *("0", "12", "123", "1234", "1234567", "1" * 50, "3.14159265", "1,000,000.00", "12a34b567c"),
    *(
        "٠١٢٣٤٥٦٧٨٩",
        "१२३४",
        "１２３４５",
        "²³¹⁴",
        "Ⅷ ½ ⅓ ㉛ 𝟘𝟙𝟚𝟛",
        "x1 y22 z333 4444w",
        "0x1F 1e-10 1_000",
    ),
)

_CODE = (
    "def f(x):\n    if x:\n        return {'a': [1, 2.5e3], \"b\": None}\n\n\n# done",
    "for (int i=0;i<n;++i){\r\n\ta[i]+=b[i]*c; // ok\r\n}\r\n",
    '<div class="x">&nbsp;</div><!-- http://a.b/c?d=e&f=%20#g -->',
    "SELECT * FROM t WHERE a<>'it''s' AND b!=\"q\";--",
    "camelCaseWord HTTPServer snake_case_word kebab-case __dunder__ $var @user #tag",
    "a/b\\c//d\\\\e ../../x ~/y C:\\z\\",
    "{{{[[[((()))]]]}}} ===> <=> |> ?? !!! ... --- ___ *** +++ ```py\n```",
)

_WORDS = (
    "I'm you're he'd we'll they've it's DON'T I'M WE'LL 'tis rock'n'roll o'clock's'",
    "naïve café Ünïcödé e\u0301 a\u0308\u0323 ﬁ ﬂ ǅ ŉ ẞß İıI Σσς",
    "你好，世界！漢字かな交じり文です。カタカナ 한국어 문장입니다. 𠮷野家",
    "Привет мир Ελληνικά עברית العَرَبِيَّة हिन्दी ไทยไม่มีช่องว่าง தமிழ் ខ្មែរ မြန်မာ አማርኛ",
    "mixed漢字and英語とかな123数字",
    "‘quotes’ “double” «guillemets» – — … • § ¶ © ® ™ € £ ¥ ° ± × ÷ ≠ ∞ ∑ ∫ √",
    "Zalgo: h\u0315\u031be\u0321l\u0336\u0489l\u0335o\u0360",
    "\u202eright to left\u202c \ufeffbom \u2028line\u2029paragraph \u0000nul \x1b[0m \x7f",
    "▁lower▁one▁eighth ▁ ▁▁ ĠGPT Ċ âĢ",
)

_BROKEN_MARKS = (
    "<0x41>",
    "<0xE2><0x82>",
    "<|",
    "|>",
    "<s",
    "</s",
    "<|im_start",
    "[INST",
    "<<SYS>>",
)


def _whitespace() -> list[str]:
    runs = [space * count for space in _SPACES for count in (1, 2, 3, 4, 7, 16, 33)]
    around = [f"{left}word{right}" for left, right in product(_SPACES, repeat=2)]
    ends = [f"a{run}b" for run in runs] + [f"{run}." for run in runs] + [f"x{run}" for run in runs]
    return [*runs, *around, *ends, " \n \n\t \r\n  x", "a \n b\n c \n\n  d"]


def _planes(seed: int) -> list[str]:
    """Characters of every plane of Unicode, assigned or not, in runs and between words."""
    choose = random.Random(seed)
    texts = []
    for plane in range(_PLANES):
        points = [plane << 16 | choose.randrange(2**16) for _ in range(_PER_PLANE)]
        chars = [chr(point) for point in points if not 0xD800 <= point < 0xE000]
        texts += ["".join(chars[i : i + 8]) for i in range(0, len(chars), 8)]
        texts += [f"a{a} {b}1" for a, b in zip(chars[::20], chars[1::20], strict=False)]
    return texts


def _categories(seed: int) -> list[str]:
    """Characters of every general category beside one another: where patterns look.

    Of Unicode 3.2, since libraries differ in how they compose what came later.
    """
    choose = random.Random(seed)
    by_category: dict[str, list[str]] = {}
    for point in range(0x20000):
        char = chr(point)
        by_category.setdefault(ucd_3_2_0.category(char), []).append(char)
    by_category.pop("Cs")
    groups = list(by_category.values())
    return [
        "".join(choose.choice(choose.choice(groups)) for _ in range(length))
        for length in (2, 3, 5, 9, 17)
        for _ in range(120)
    ]


def _noise(seed: int) -> list[str]:
    choose = random.Random(seed)
    alphabet = "aAbBzZ019 \n\t\r'\"-_.,!?/\\<>|{}[]()éß漢かㅎ👍🏽\u200d"
    return ["".join(choose.choices(alphabet, k=choose.randrange(1, 40))) for _ in range(400)]


def hard_corpus(specials: tuple[str, ...] = ()) -> list[str]:
    """specials: a vocabulary's own, which then stand in the text in every way."""
    named = [
        text
        for name in specials
        for text in (name, f"{name}{name}", f"a{name}b", f" {name} ", f"\n{name}\n\n", f"é{name}1")
    ]
    plain = (*_EMOJI, *_DIGITS, *_CODE, *_WORDS, *_BROKEN_MARKS)
    pairs = [f"{left} {right}" for left, right in pairwise(plain)]
    return ["", *plain, *pairs, *named, *_whitespace(), *_planes(0), *_categories(1), *_noise(2)]
