"""How things are said in English. The marks are explained in `templates`."""

from __future__ import annotations

from qwen3_vl_pocket.world.phrasebook import Phrasebook, combine_templates

__all__ = ["CAPTIONS", "ENGLISH"]

CAPTIONS = {
    "pair": ("pair: {thing} {relation} {other_thing}",),
    "count": ("count: {many}, {other_thing}",),
    "page": ("page: {paper} from {company} about {title}, number {number}, {color} header, quantity {quantity}",),
    "chart": ("chart: {chart} about {title}, {color}, peak in {peak}, value {number}",),
    "screenshot": (
        "screenshot: {icon} icon, from {company}, message {fault}, code {number}, {button} button, {color} header",
    ),
    "motion": ("clip: {thing} moves {direction}, {other_thing} stays",),
    "change": ("clip: {thing} {event} {moment}, {other_thing} stays",),
    "recolor": ("clip: {thing} {turn} {moment}",),
    "product": ("product: {thing} from {company}, price {number}",),
}
"""One way to tell everything, for each kind."""

_SHOWN = ("Which picture shows @?", "Show me @", "Find a picture with @", "@", "Is there @?")
_LETTERHEAD = "[ from {company}][ about {title}]"
_SHEET = "(the number|no.) {number};{color.a} header;(quantity|qty) {quantity}"
_PLOT = "(its peak|the top) in {peak};the value {number}"
_DIALOG = "{icon.a} icon;the message {fault};code {number};{button.a} button;{color.a} header"

ENGLISH = Phrasebook(
    ask={
        "pair": (
            *combine_templates(_SHOWN, "{thing.a} {relation} {other_thing.a}", "{thing.a} and {other_thing.a}"),
            *combine_templates(_SHOWN, "{thing.a}"),
            "{thing} {relation} {other_thing}",
            "{thing} and {other_thing}",
        ),
        "count": (
            *combine_templates(_SHOWN[:4], "{many}[ and {other_thing.a}]"),
            "{many} with {other_thing.a}",
            "Are there {many}[ and {other_thing.a}]?",
        ),
        "page": (
            f"Which {{paper}}{_LETTERHEAD} has <&{_SHEET}>?",
            f"Show me the {{paper}}{_LETTERHEAD}[ with <&{_SHEET}>]",
            f"Find {{paper.a}}{_LETTERHEAD}[ with <&{_SHEET}>]",
            "{paper} <+{company};{title};(number|no.) {number};{color} header;(quantity|qty) {quantity}>",
            f"Is there {{paper.a}}{_LETTERHEAD}[ with <&{_SHEET}>]?",
        ),
        "chart": (
            f"Which [{{color}} ]{{chart}}[ about {{title}}] has <&{_PLOT}>?",
            f"Show me the [{{color}} ]{{chart}}[ about {{title}}][ with <&{_PLOT}>]",
            f"Find {{chart.a}}[ in {{color}}][ about {{title}}][ with <&{_PLOT}>]",
            "{chart} <+{title};{color};(peak|top) {peak};value {number}>",
            f"Is there {{chart.a}}[ in {{color}}][ about {{title}}][ with <&{_PLOT}>]?",
        ),
        "screenshot": (
            f"Which dialog[ from {{company}}] has <&{_DIALOG}>?",
            f"Show me the [{{company}} ]dialog[ with <&{_DIALOG}>]",
            f"Find a dialog[ from {{company}}][ with <&{_DIALOG}>]",
            "dialog <+{company};{icon} icon;{fault};code {number};{button} button;{color} header>",
            f"Is there a dialog[ from {{company}}][ with <&{_DIALOG}>]?",
        ),
        "motion": (
            "Which clip shows {thing.a} moving[ {direction}][ and {other_thing.a} that stays]?",
            "In which clip does {thing.a} move[ {direction}][ while {other_thing.a} stays]?",
            "Show me {thing.a} that moves[ {direction}][ while {other_thing.a} stays]",
            "{thing} moving[ {direction}][, {other_thing} stays]",
            "{thing.a} moves[ {direction}][ while {other_thing.a} stays]",
        ),
        "change": (
            "Which clip shows {thing.a} that {event}[ {moment}][ and {other_thing.a} that stays]?",
            "In which clip does {thing.a} {event.bare}[ {moment}][ while {other_thing.a} stays]?",
            "Show me {thing.a} that {event}[ {moment}][ while {other_thing.a} stays]",
            "{thing} {event}[ {moment}][, {other_thing} stays]",
            "{thing.a} {event}[ {moment}][ while {other_thing.a} stays]",
        ),
        "recolor": (
            "Which clip shows {thing.a} that {turn}[ {moment}]?",
            "In which clip does {thing.a} {turn.bare}[ {moment}]?",
            "Show me {thing.a} that {turn}[ {moment}]",
            "{thing} {turn}[ {moment}]",
            "Find a clip where {thing.a} {turn}[ {moment}]",
        ),
        "product": (
            "Which product[ from {company}][ for {number}] is {thing.a}?",
            "Show me the product[ from {company}] that is {thing.a}[ and costs {number}]",
            "product <+{thing};{company};price {number}>",
            "Find {thing.a} to buy[ from {company}][ for {number}]",
        ),
    },
    describe={
        "pair": (
            "{thing.A} is {relation.far} {other_thing.a}.",
            "There is {other_thing.a} with {thing.a} {relation.far} it.",
            "Drawing: {thing} {relation.far} {other_thing}.",
            "There is {thing.a}[ and {other_thing.a}].",
            "{thing.A}[ and {other_thing.a}] can be seen.",
            "Drawing: {thing}[, {other_thing}].",
        ),
        "count": (
            "There are {many}[ beside {other_thing.a}].",
            "Drawing: {many}[, {other_thing}].",
            "{other_thing.A} beside {many}.",
            "We see {many}[ and {other_thing.a}].",
        ),
        "page": (
            "{paper.A}[ by {company}][ on {title}].[ It has <&no. {number};{color.a} banner;qty {quantity}>.]",
            "{paper}: <,sender {company};subject {title};no. {number};banner {color};qty {quantity}>",
            "{company} sent {paper.a}[ on {title}][, <,no. {number};qty {quantity};{color} banner>].",
            "The subject of this {paper} is {title}[, sender {company}]."
            "[ It has <&no. {number};qty {quantity};{color.a} banner>.]",
        ),
        "chart": (
            "{chart.A}[ on {title}][, drawn in {color}].[ {peak} is highest.][ The maximum is {number}.]",
            "{chart}: <,subject {title};drawn in {color};highest in {peak};maximum {number}>",
            "The {chart} shows {title}[ in {color}][, highest in {peak}][, maximum {number}].",
            "The [{color} ]{chart} is highest in {peak}[ with {number}].[ Subject: {title}.]",
        ),
        "screenshot": (
            "There is a window[ by {company}][ with <&{icon.a} sign;no. {number};{button} to press;{color.a} banner>]"
            "[, it says {fault}].",
            "window: <,by {company};{icon} sign;says {fault};no. {number};press {button};banner {color}>",
            "The [{company} ]window says {fault}[, no. {number}].[ Press {button}.]"
            "[ It has <&{icon.a} sign;{color.a} banner>.]",
            "[{company}: ]window[ with <&{icon.a} sign;{color.a} banner>][, says {fault}][, no. {number}]"
            "[, press {button}]",
        ),
        "motion": (
            "{thing.A} (goes|slides) by.[ {other_thing.A} stands still.]",
            "{thing.A} (goes|slides) {direction.far}.[ {other_thing.A} stands still.]",
            "{thing.A} (goes|slides) {direction.far} while {other_thing.a} stands still.",
            "Video: {thing} slides[ {direction.far}][, {other_thing} stands still].",
            "[{other_thing.A} stands still. ]There is {thing.a} that slides[ {direction.far}].",
        ),
        "change": (
            "{thing.A} {event.far}[ {moment.far}].[ {other_thing.A} is always there.]",
            "Video: {thing} {event.far}[ {moment.far}][, {other_thing} always there].",
            "There is {thing.a} that {event.far}[ {moment.far}][ and {other_thing.a} that is always there].",
        ),
        "recolor": (
            "{thing.A} {turn.far}[ {moment.far}].",
            "Video: {thing} {turn.far}[ {moment.far}].",
            "There is {thing.a} that {turn.far}[ {moment.far}].",
        ),
        "product": (
            "For sale: {thing.a}[ by {company}][, costs {number}].",
            "{company} sells {thing.a}[ for {number}].",
            "{thing.A} for sale[, made by {company}][, costs {number}].",
            "We sell {thing.a}[ made by {company}][ for {number}].",
        ),
    },
    label=(
        "Made by {company}, costs {number}",
        "{company} sells this for {number}.",
        "For sale by {company} for {number}.",
        "{company}, price {number}",
    ),
    changes={
        "pair": {
            "color": ("with {thing.a}", "the {shape} is {paint}"),
            "shape": ("with {thing.a}", "the {paint} one is {shape.a}"),
            "relation": ("the {thing} is {relation} the {other_thing}", "with {thing.a} {relation} {other_thing.a}"),
            "other_color": ("with {other_thing.a}", "the {other_shape} is {other_paint}"),
            "other_shape": ("with {other_thing.a}", "the {other_paint} one is {other_shape.a}"),
            "everything": ("with {thing.a} {relation} {other_thing.a}", "now {thing.a} is {relation} {other_thing.a}"),
        },
        "count": {
            "count": ("with {many}", "there are {many}"),
            "color": ("with {thing.s}", "the {shape.s} are {paint}"),
            "shape": ("with {thing.s}", "the {paint} ones are {shape.s}"),
            "other_color": ("with {other_thing.a}", "the single {other_shape} is {other_paint}"),
            "other_shape": ("with {other_thing.a}", "the other one is {other_shape.a}"),
        },
        "page": {
            "type": ("as {paper.a}", "it is {paper.a}"),
            "company": ("from {company}", "it is from {company}"),
            "title": ("about {title}", "it is about {title}"),
            "number": ("with (number|no.) {number}", "the number is {number}"),
            "color": ("with {color.a} header", "the header is {color}"),
            "quantity": ("with (quantity|qty) {quantity}", "the quantity is {quantity}"),
        },
        "chart": {
            "type": ("as {chart.a}", "it is {chart.a}"),
            "title": ("about {title}", "it is about {title}"),
            "color": ("in {color}", "it is {color}"),
            "peak": ("with (its peak|the top) in {peak}", "the peak is in {peak}"),
            "number": ("with the value {number}", "the value is {number}"),
        },
        "screenshot": {
            "icon": ("with {icon.a} icon", "it has {icon.a} icon"),
            "company": ("from {company}", "it is from {company}"),
            "fault": ("with the message {fault}", "the message is {fault}"),
            "number": ("with code {number}", "the code is {number}"),
            "button": ("with {button.a} button", "the button is {button}"),
            "color": ("with {color.a} header", "the header is {color}"),
        },
    },
    change_frames=("the same, but @", "like this, but @", "this one, but @"),
    joins={"&": (", ", " and "), ",": (", ", ", "), "+": (" ", " ")},
)
