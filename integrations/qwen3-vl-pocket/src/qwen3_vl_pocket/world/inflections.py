"""The forms of words that templates put together: "red circle", "a red circle", "3 red circles".

A table is named after a group of slots and a form, as in "thing.a". Its keys are the values of the group's slots;
`None` stands for a value that is not told. Chinese texts have a space between words.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

from qwen3_vl_pocket.world.facts import SCHEMAS
from qwen3_vl_pocket.world.lexicon import NAMES, SPANISH_ADJECTIVES, SPANISH_NOUNS, Language
from qwen3_vl_pocket.world.templates import Table

__all__ = ["build_tables"]

_COLORS: tuple[str | None, ...] = (*SCHEMAS["pair"]["color"], None)
_SHAPES: tuple[str | None, ...] = (*SCHEMAS["pair"]["shape"], None)
_COUNTS: tuple[str | None, ...] = (*SCHEMAS["count"]["count"], None)
_NUMBERS: Table = {(tens, ones): tens + ones for tens in SCHEMAS["page"]["tens"] for ones in SCHEMAS["page"]["ones"]}


@functools.cache
def build_tables(language: Language) -> Mapping[str, Table]:
    """Returns the tables of a language by name."""
    plain = {name: words for name, words in NAMES[language].items() if name not in ("shape", "color")}
    return {**plain, "number": _NUMBERS, **_BUILDERS[language]()}


def _build_english() -> Mapping[str, Table]:
    names = NAMES["en"]
    shapes: dict[str | None, str] = {**names["shape"], None: "shape"}
    papers: dict[str | None, str] = {**names["paper"], None: "document"}
    charts: dict[str | None, str] = {**names["chart"], None: "chart"}
    things = _pair_up(lambda color, shape: _join(color, shapes[shape]))
    crowds = _pair_up(lambda color, shape: _join(color, _make_plural(shapes[shape])))
    return {
        "thing": things,
        "thing.a": _map(things, _add_article),
        "thing.A": _map(things, lambda text: _capitalize(_add_article(text))),
        "thing.s": crowds,
        "many": _count(crowds, lambda _shape: "several"),
        "shape": shapes,
        "shape.a": _map(shapes, _add_article),
        "shape.s": _map(shapes, _make_plural),
        "color": names["color"],
        "color.a": _map(names["color"], _add_article),
        "paint": _pair_up(lambda color, _shape: color or ""),
        "relation": {"left": "left of", "right": "right of", "above": "above", "below": "below"},
        "relation.far": {"left": "to the left of", "right": "to the right of", "above": "over", "below": "under"},
        "direction": {"left": "left", "right": "right", "up": "up", "down": "down"},
        "direction.far": {"left": "to the left", "right": "to the right", "up": "upwards", "down": "downwards"},
        "event": {"appears": "appears", "vanishes": "vanishes", None: "comes or goes"},
        "event.bare": {"appears": "appear", "vanishes": "vanish", None: "come or go"},
        "event.far": {"appears": "shows up", "vanishes": "goes away", None: "comes or goes"},
        "moment": {"early": "at the start", "late": "at the end"},
        "moment.far": {"early": "early", "late": "late"},
        "turn": _turn(lambda color, _shape: f"turns {color}" if color else "changes color"),
        "turn.bare": _turn(lambda color, _shape: f"turn {color}" if color else "change color"),
        "turn.far": _turn(lambda color, _shape: f"becomes {color}" if color else "gets another color"),
        "paper": papers,
        "paper.a": _map(papers, _add_article),
        "paper.A": _map(papers, lambda text: _capitalize(_add_article(text))),
        "chart": charts,
        "chart.a": _map(charts, _add_article),
        "chart.A": _map(charts, lambda text: _capitalize(_add_article(text))),
        "icon.a": _map(names["icon"], _add_article),
        "button.a": _map(names["button"], _add_article),
    }


def _build_chinese() -> Mapping[str, Table]:
    names = NAMES["zh"]
    shapes: dict[str | None, str] = {**names["shape"], None: "图形"}
    colors: dict[str | None, str] = {**names["color"], None: ""}
    things = _pair_up(lambda color, shape: _join(colors[color], shapes[shape]))
    return {
        "thing": things,
        "thing.a": _map(things, lambda text: f"一个 {text}"),
        "many": _count(_map(things, lambda text: f"个 {text}"), lambda _shape: "几"),
        "shape": shapes,
        "color": names["color"],
        "paint": _pair_up(lambda color, _shape: colors[color]),
        "relation": {"left": "左边", "right": "右边", "above": "上面", "below": "下面"},
        "relation.far": {"left": "左侧", "right": "右侧", "above": "上方", "below": "下方"},
        "direction": {"left": "向左", "right": "向右", "up": "向上", "down": "向下"},
        "event": {"appears": "出现", "vanishes": "消失", None: "有 变化"},
        "event.far": {"appears": "出来 了", "vanishes": "不见 了", None: "有 变化"},
        "moment": {"early": "在 开头", "late": "在 结尾"},
        "moment.far": {"early": "一开始", "late": "最后"},
        "turn": _turn(lambda color, _shape: f"变成 {colors[color]}" if color else "变 颜色"),
        "turn.far": _turn(lambda color, _shape: f"变为 {colors[color]}" if color else "换 颜色"),
        "paper": {**names["paper"], None: "文件"},
        "chart": {**names["chart"], None: "图表"},
    }


def _build_spanish() -> Mapping[str, Table]:
    things = _pair_up(lambda color, shape: _join(SPANISH_NOUNS[shape].singular, _agree(color, shape)))
    crowds = _pair_up(lambda color, shape: _join(SPANISH_NOUNS[shape].plural, _agree(color, shape, plural=True)))
    single = _pair_up(lambda color, shape: f"{_choose_article(shape)} {things[color, shape]}")
    papers = {type_: SPANISH_NOUNS[type_ or "document"] for type_ in (*SCHEMAS["page"]["type"], None)}
    titled = {type_: f"{'una' if noun.feminine else 'un'} {noun.singular}" for type_, noun in papers.items()}
    charts: dict[str | None, str] = {**NAMES["es"]["chart"], None: "gráfico"}
    return {
        "thing": things,
        "thing.a": single,
        "thing.A": _map(single, _capitalize),
        "thing.s": crowds,
        "many": _count(crowds, lambda shape: "varias" if SPANISH_NOUNS[shape].feminine else "varios"),
        "shape.a": {shape: f"{_choose_article(shape)} {SPANISH_NOUNS[shape].singular}" for shape in _SHAPES},
        "shape.the": {shape: _define(shape) for shape in _SHAPES},
        "shape.s": {shape: SPANISH_NOUNS[shape].plural for shape in _SHAPES},
        "shape.those": {shape: _define(shape, plural=True) for shape in _SHAPES},
        "color": {color: forms[0] for color, forms in SPANISH_ADJECTIVES.items()},
        "color.f": {color: forms[1] for color, forms in SPANISH_ADJECTIVES.items()},
        "paint": _pair_up(_agree),
        "paint.s": _pair_up(lambda color, shape: _agree(color, shape, plural=True)),
        "relation": {
            "left": "a la izquierda de",
            "right": "a la derecha de",
            "above": "encima de",
            "below": "debajo de",
        },
        "relation.its": {"left": "a su izquierda", "right": "a su derecha", "above": "encima", "below": "debajo"},
        "direction": {
            "left": "hacia la izquierda",
            "right": "hacia la derecha",
            "up": "hacia arriba",
            "down": "hacia abajo",
        },
        "event": {"appears": "aparece", "vanishes": "desaparece", None: "va o viene"},
        "event.far": {"appears": "entra", "vanishes": "se va", None: "va o viene"},
        "moment": {"early": "al principio", "late": "al final"},
        "moment.far": {"early": "pronto", "late": "tarde"},
        "turn": _turn(lambda color, shape: f"se vuelve {_agree(color, shape)}" if color else "cambia de color"),
        "turn.far": _turn(lambda color, shape: f"pasa a ser {_agree(color, shape)}" if color else "toma otro color"),
        "paper": {type_: noun.singular for type_, noun in papers.items()},
        "paper.a": titled,
        "paper.A": _map(titled, _capitalize),
        "paper.the": {type_: f"{'la' if noun.feminine else 'el'} {noun.singular}" for type_, noun in papers.items()},
        "chart": charts,
    }


_BUILDERS: Mapping[Language, Callable[[], Mapping[str, Table]]] = {
    "en": _build_english,
    "zh": _build_chinese,
    "es": _build_spanish,
}


def _pair_up(tell: Callable[[str | None, str | None], str]) -> dict[tuple[str | None, str | None], str]:
    return {(color, shape): tell(color, shape) for color in _COLORS for shape in _SHAPES}


def _count(crowds: Table, find_several: Callable[[str | None], str]) -> Table:
    return {
        (count, color, shape): f"{count or find_several(shape)} {crowds[color, shape]}"
        for count in _COUNTS
        for color, shape in crowds
    }


def _turn(tell: Callable[[str | None, str | None], str]) -> Table:
    return _pair_up(tell)


def _map(table: Table, change: Callable[[str], str]) -> Table:
    return {key: change(text) for key, text in table.items()}


def _join(*words: str | None) -> str:
    return " ".join(_skip_untold(*words))


def _skip_untold(*words: str | None) -> Iterator[str]:
    return (word for word in words if word)


def _add_article(text: str) -> str:
    return f"an {text}" if text[0] in "aeiouAEIOU" else f"a {text}"


def _make_plural(noun: str) -> str:
    return noun + ("es" if noun.endswith("ss") else "s")


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]


def _agree(color: str | None, shape: str | None, *, plural: bool = False) -> str:
    if color is None:
        return ""
    return SPANISH_ADJECTIVES[color][SPANISH_NOUNS[shape].feminine + 2 * plural]


def _choose_article(noun: str | None) -> str:
    return "una" if SPANISH_NOUNS[noun].feminine else "un"


def _define(noun: str | None, *, plural: bool = False) -> str:
    found = SPANISH_NOUNS[noun]
    if plural:
        return f"{'las' if found.feminine else 'los'} {found.plural}"
    return f"{'la' if found.feminine else 'el'} {found.singular}"
