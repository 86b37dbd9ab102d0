"""The words of the world: what each value of a slot is called in English, Chinese and Spanish.

Chinese texts are written with a space between words, for a word list to be made from; sentences join them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from qwen3_vl_pocket.world.facts import COLORS, COMPANIES, FAULTS, SCHEMAS, SHAPES, TITLES

__all__ = ["LANGUAGES", "NAMES", "SPANISH_ADJECTIVES", "SPANISH_NOUNS", "Language", "Noun"]

Language: TypeAlias = Literal["en", "zh", "es"]

LANGUAGES: tuple[Language, ...] = ("en", "zh", "es")
"""The languages that sentences are made in."""


@dataclass(frozen=True, slots=True)
class Noun:
    """A Spanish noun.

    Attributes:
        singular: As in "un círculo".
        plural: As in "3 círculos".
        feminine: Whether its articles and adjectives are.
    """

    singular: str
    plural: str
    feminine: bool


def _pair_up(values: Sequence[str], words: str) -> Mapping[str, str]:
    return dict(zip(values, words.split(), strict=True))


def _keep(values: Sequence[str]) -> Mapping[str, str]:
    return {value: value for value in values}


_PRINTED: Mapping[str, Mapping[str, str]] = {
    "company": _keep(COMPANIES),
    "peak": _keep(SCHEMAS["chart"]["peak"]),
    "button": _keep(SCHEMAS["screenshot"]["button"]),
    "quantity": _keep(SCHEMAS["page"]["quantity"]),
}
"""What stands in pictures and is quoted as it is, in every language."""

NAMES: Mapping[Language, Mapping[str, Mapping[str, str]]] = {
    "en": {
        **_PRINTED,
        "color": _keep(COLORS),
        "shape": _keep(SHAPES),
        "title": _keep(TITLES),
        "fault": _keep(FAULTS),
        "icon": _keep(SCHEMAS["screenshot"]["icon"]),
        "paper": _keep(SCHEMAS["page"]["type"]),
        "chart": {"bar": "bar chart", "line": "line chart"},
    },
    "zh": {
        **_PRINTED,
        "color": _pair_up(COLORS, "红色 蓝色 绿色 黄色 紫色 橙色 黑色 粉色"),
        "shape": _pair_up(SHAPES, "圆形 方形 三角形 星形 十字 圆环"),
        "title": _pair_up(
            TITLES,
            "预算 花园 桥梁 旅行 能源 健康 学校 音乐 水 市场 冬天 夏天 "
            "酒店 咖啡 火车 森林 服务器 相机 安全 销售 工资 设计 法律 博物馆",
        ),
        "fault": _pair_up(FAULTS, "超时 被拒 缺失 离线 已满 过期 锁定 损坏"),
        "icon": _pair_up(SCHEMAS["screenshot"]["icon"], "错误 警告 信息 问号"),
        "paper": _pair_up(SCHEMAS["page"]["type"], "发票 报告 备忘录 表格"),
        "chart": _pair_up(SCHEMAS["chart"]["type"], "柱状图 折线图"),
    },
    "es": {
        **_PRINTED,
        "title": _pair_up(
            TITLES,
            "presupuesto jardín puente viaje energía salud escuela música agua mercado invierno verano "
            "alojamiento café tren bosque servidor cámara seguridad ventas sueldo diseño leyes museo",
        ),
        "fault": {
            **_pair_up(FAULTS, "agotado denegado ausente desconectado lleno caducado bloqueado dañado"),
            "timeout": "tiempo agotado",
        },
        "icon": _pair_up(SCHEMAS["screenshot"]["icon"], "error aviso información pregunta"),
        "chart": {"bar": "gráfico de barras", "line": "gráfico de líneas"},
    },
}
"""The name of each value, by language and by notion. Spanish nouns and adjectives that agree are listed apart."""

SPANISH_ADJECTIVES: Mapping[str, tuple[str, str, str, str]] = {
    "red": ("rojo", "roja", "rojos", "rojas"),
    "blue": ("azul", "azul", "azules", "azules"),
    "green": ("verde", "verde", "verdes", "verdes"),
    "yellow": ("amarillo", "amarilla", "amarillos", "amarillas"),
    "purple": ("morado", "morada", "morados", "moradas"),
    "orange": ("naranja", "naranja", "naranja", "naranja"),
    "black": ("negro", "negra", "negros", "negras"),
    "pink": ("rosa", "rosa", "rosa", "rosa"),
}
"""Masculine and feminine, then masculine and feminine plural."""

SPANISH_NOUNS: Mapping[str | None, Noun] = {
    "circle": Noun("círculo", "círculos", feminine=False),
    "square": Noun("cuadrado", "cuadrados", feminine=False),
    "triangle": Noun("triángulo", "triángulos", feminine=False),
    "star": Noun("estrella", "estrellas", feminine=True),
    "cross": Noun("cruz", "cruces", feminine=True),
    "ring": Noun("anillo", "anillos", feminine=False),
    None: Noun("figura", "figuras", feminine=True),
    "invoice": Noun("factura", "facturas", feminine=True),
    "report": Noun("informe", "informes", feminine=False),
    "memo": Noun("memorando", "memorandos", feminine=False),
    "form": Noun("formulario", "formularios", feminine=False),
    "document": Noun("documento", "documentos", feminine=False),
}
"""Shapes (`None`: a shape that is not told) and types of pages ("document": a type that is not told)."""
