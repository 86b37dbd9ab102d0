"""How things are said in Spanish. The marks are explained in `templates`."""

from __future__ import annotations

from qwen3_vl_pocket.world.phrasebook import Phrasebook, combine_templates

__all__ = ["SPANISH"]

_SHOWN = ("¿Qué imagen muestra @?", "Muéstrame @", "Busca una imagen con @", "@", "¿Hay @?")
_LETTERHEAD = "[ de {company}][ sobre {title}]"
_SHEET = "el (número|núm.) {number};un encabezado {color};(la cantidad|cant.) {quantity}"
_PLOT = "el (pico|máximo) en {peak};el valor {number}"
_DIALOG = "un icono de {icon};el mensaje {fault};el código {number};un botón {button};un encabezado {color}"

SPANISH = Phrasebook(
    ask={
        "pair": (
            *combine_templates(_SHOWN, "{thing.a} {relation} {other_thing.a}", "{thing.a} y {other_thing.a}"),
            *combine_templates(_SHOWN, "{thing.a}"),
            "{thing} {relation} {other_thing}",
            "{thing} y {other_thing}",
        ),
        "count": (
            *combine_templates(_SHOWN, "{many}[ y {other_thing.a}]"),
            "{many} con {other_thing.a}",
        ),
        "page": (
            f"¿Qué {{paper}}{_LETTERHEAD} tiene <&{_SHEET}>?",
            f"Muéstrame {{paper.the}}{_LETTERHEAD}[ con <&{_SHEET}>]",
            f"Busca {{paper.a}}{_LETTERHEAD}[ con <&{_SHEET}>]",
            "{paper} <+{company};{title};(número|núm.) {number};encabezado {color};(cantidad|cant.) {quantity}>",
            f"¿Hay {{paper.a}}{_LETTERHEAD}[ con <&{_SHEET}>]?",
        ),
        "chart": (
            f"¿Qué {{chart}}[ sobre {{title}}][ de color {{color}}] tiene <&{_PLOT}>?",
            f"Muéstrame el {{chart}}[ sobre {{title}}][ de color {{color}}][ con <&{_PLOT}>]",
            f"Busca un {{chart}}[ de color {{color}}][ sobre {{title}}][ con <&{_PLOT}>]",
            "{chart} <+{title};color {color};(pico|máximo) {peak};valor {number}>",
            f"¿Hay un {{chart}}[ sobre {{title}}][ de color {{color}}][ con <&{_PLOT}>]?",
        ),
        "screenshot": (
            f"¿Qué diálogo[ de {{company}}] tiene <&{_DIALOG}>?",
            f"Muéstrame el diálogo[ de {{company}}][ con <&{_DIALOG}>]",
            f"Busca un diálogo[ de {{company}}][ con <&{_DIALOG}>]",
            "diálogo <+{company};icono {icon};{fault};código {number};botón {button};encabezado {color}>",
            f"¿Hay un diálogo[ de {{company}}][ con <&{_DIALOG}>]?",
        ),
        "motion": (
            "¿Qué vídeo muestra {thing.a} que se mueve[ {direction}][ y {other_thing.a} inmóvil]?",
            "¿En qué vídeo se mueve {thing.a}[ {direction}][ junto a {other_thing.a} inmóvil]?",
            "Muéstrame {thing.a} que se mueve[ {direction}][ y {other_thing.a} inmóvil]",
            "{thing} se mueve[ {direction}][, {other_thing} inmóvil]",
            "Busca {thing.a} que se mueve[ {direction}][ y {other_thing.a} inmóvil]",
        ),
        "change": (
            "¿Qué vídeo muestra {thing.a} que {event}[ {moment}][ y {other_thing.a} que sigue]?",
            "¿En qué vídeo {event} {thing.a}[ {moment}][ y sigue {other_thing.a}]?",
            "Muéstrame {thing.a} que {event}[ {moment}][ y {other_thing.a} que sigue]",
            "{thing} {event}[ {moment}][, {other_thing} sigue]",
            "Busca {thing.a} que {event}[ {moment}][ junto a {other_thing.a}]",
        ),
        "recolor": (
            "¿Qué vídeo muestra {thing.a} que {turn}[ {moment}]?",
            "¿En qué vídeo {thing.a} {turn}[ {moment}]?",
            "Muéstrame {thing.a} que {turn}[ {moment}]",
            "{thing} {turn}[ {moment}]",
            "Busca {thing.a} que {turn}[ {moment}]",
        ),
        "product": (
            "¿Qué producto[ de {company}][ por {number}] es {thing.a}?",
            "Muéstrame el producto[ de {company}] que es {thing.a}[ y cuesta {number}]",
            "producto <+{thing};{company};precio {number}>",
            "Busca {thing.a} para comprar[ de {company}][ por {number}]",
        ),
    },
    describe={
        "pair": (
            "{thing.A} está {relation} {other_thing.a}.",
            "Aquí está {other_thing.a} y {relation.its} {thing.a}.",
            "Dibujo: {thing} {relation} {other_thing}.",
            "Aquí está {thing.a}[ con {other_thing.a}].",
            "{thing.A}[ y {other_thing.a}] en un dibujo.",
            "Dibujo: {thing}[, {other_thing}].",
        ),
        "count": (
            "Aquí hay {many}[ junto a {other_thing.a}].",
            "Dibujo: {many}[, {other_thing}].",
            "{other_thing.A} junto a {many}.",
            "Vemos {many}[ y {other_thing.a}].",
        ),
        "page": (
            "{paper.A}[, emisor {company}][, tema {title}]."
            "[ Lleva <&núm. {number};una banda {color.f};cant. {quantity}>.]",
            "{paper}: <,emisor {company};tema {title};núm. {number};banda {color.f};cant. {quantity}>",
            "{company} envió {paper.a}[ con tema {title}][, <,núm. {number};cant. {quantity};banda {color.f}>].",
            "El tema es {title}, en {paper.a}[, emisor {company}]"
            "[, <,núm. {number};cant. {quantity};banda {color.f}>].",
        ),
        "chart": (
            "Un {chart}[, tema {title}][, en {color}].[ Lo más alto es {peak}.][ El máximo es {number}.]",
            "{chart}: <,tema {title};en {color};más alto en {peak};máximo {number}>",
            "El {chart} trata de {title}[, en {color}][, más alto en {peak}][, máximo {number}].",
            "El {chart}[ en {color}] es más alto en {peak}[ con {number}].[ Tema: {title}.]",
        ),
        "screenshot": (
            "Una ventana[ de {company}][ con <&símbolo de {icon};núm. {number};tecla {button};banda {color.f}>]"
            "[, dice {fault}].",
            "ventana: <,de {company};símbolo {icon};dice {fault};núm. {number};tecla {button};banda {color.f}>",
            "La ventana[ de {company}] dice {fault}[, <,núm. {number};tecla {button};símbolo {icon};banda {color.f}>].",
        ),
        "motion": (
            "{thing.A} se desplaza[ {direction}].[ {other_thing.A} está inmóvil.]",
            "{thing.A} se desplaza[ {direction}][ mientras {other_thing.a} no].",
            "Película: {thing} se desplaza[ {direction}][, {other_thing} no].",
        ),
        "change": (
            "{thing.A} {event.far}[ {moment.far}].[ {other_thing.A} está siempre.]",
            "Película: {thing} {event.far}[ {moment.far}][, {other_thing} siempre].",
            "Aquí {event.far}[ {moment.far}] {thing.a}[ y siempre está {other_thing.a}].",
        ),
        "recolor": (
            "{thing.A} {turn.far}[ {moment.far}].",
            "Película: {thing} {turn.far}[ {moment.far}].",
            "Aquí {thing.a} {turn.far}[ {moment.far}].",
        ),
        "product": (
            "En venta: {thing.a}[ de {company}][, cuesta {number}].",
            "{company} vende {thing.a}[ por {number}].",
            "{thing.A} en venta[, de {company}][, cuesta {number}].",
        ),
    },
    label=(
        "Por {company}, cuesta {number}",
        "{company} lo vende por {number}.",
        "En venta por {company}, precio {number}.",
        "{company}, precio {number}",
    ),
    changes={
        "pair": {
            "color": ("con {thing.a}", "{shape.the} es {paint}"),
            "shape": ("con {thing.a}", "la figura {color.f} es {shape.a}"),
            "relation": ("con {thing.a} {relation} {other_thing.a}", "ahora {thing.a} está {relation} {other_thing.a}"),
            "other_color": ("con {other_thing.a}", "{other_shape.the} es {other_paint}"),
            "other_shape": ("con {other_thing.a}", "la figura {other_color.f} es {other_shape.a}"),
            "everything": (
                "con {thing.a} {relation} {other_thing.a}",
                "ahora {thing.a} está {relation} {other_thing.a}",
            ),
        },
        "count": {
            "count": ("con {many}", "hay {many}"),
            "color": ("con {thing.s}", "{shape.those} son {paint.s}"),
            "shape": ("con {thing.s}", "hay {thing.s}"),
            "other_color": ("con {other_thing.a}", "hay {other_thing.a}"),
            "other_shape": ("con {other_thing.a}", "hay {other_thing.a}"),
        },
        "page": {
            "type": ("como {paper.a}", "es {paper.a}"),
            "company": ("de {company}", "es de {company}"),
            "title": ("sobre {title}", "el tema es {title}"),
            "number": ("con el (número|núm.) {number}", "el número es {number}"),
            "color": ("con un encabezado {color}", "el encabezado es {color}"),
            "quantity": ("con (cantidad|cant.) {quantity}", "la cantidad es {quantity}"),
        },
        "chart": {
            "type": ("como {chart}", "es un {chart}"),
            "title": ("sobre {title}", "el tema es {title}"),
            "color": ("de color {color}", "el color es {color}"),
            "peak": ("con el (pico|máximo) en {peak}", "el pico es {peak}"),
            "number": ("con el valor {number}", "el valor es {number}"),
        },
        "screenshot": {
            "icon": ("con un icono de {icon}", "el icono es de {icon}"),
            "company": ("de {company}", "es de {company}"),
            "fault": ("con el mensaje {fault}", "el mensaje es {fault}"),
            "number": ("con el código {number}", "el código es {number}"),
            "button": ("con un botón {button}", "el botón es {button}"),
            "color": ("con un encabezado {color}", "el encabezado es {color}"),
        },
    },
    change_frames=("lo mismo, pero @", "como esto, pero @", "igual, pero @"),
    joins={"&": (", ", " y "), ",": (", ", ", "), "+": (" ", " ")},
)
