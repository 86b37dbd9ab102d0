"""How things are said in Chinese. The marks are explained in `templates`.

Words are separated by spaces, which sentences do not have; `~` stands for a space that they have.
"""

from __future__ import annotations

from qwen3_vl_pocket.world.phrasebook import Phrasebook, combine_templates

__all__ = ["CHINESE"]

_SHOWN = ("哪 张 图片 有 @ ？", "请 找 有 @ 的 图片", "@", "给 我 看 @")
_LETTERHEAD = "[{company} 的 ][关于 {title} 的 ]{paper}"
_SHEET = "编号 {number};{color} 页眉;数量 {quantity}"
_PLOT = "[{color} 的 ][关于 {title} 的 ]{chart}"
_PEAK = "{peak} 最高;数值 {number}"
_DIALOG = "{icon} 图标;消息 {fault};代码 {number};{button} 按钮;{color} 页眉"

CHINESE = Phrasebook(
    ask={
        "pair": (
            *combine_templates(_SHOWN, "{thing.a} 在 {other_thing.a} 的 {relation}", "{thing.a} 和 {other_thing.a}"),
            *combine_templates(_SHOWN, "{thing.a}"),
            "{other_thing} {relation} 的 {thing}",
            "{thing} 和 {other_thing}",
        ),
        "count": (*combine_templates(_SHOWN, "{many}[ 和 {other_thing.a}]"), "有 没有 {many}[ 和 {other_thing.a}] ？"),
        "page": (
            f"哪 份 {_LETTERHEAD} 有 <&{_SHEET}> ？",
            f"请 找 {_LETTERHEAD}[ ， <,{_SHEET}>]",
            "{paper} ~ <+{company};{title};编号 {number};{color} 页眉;数量 {quantity}>",
            f"给 我 看 {_LETTERHEAD}[ ， 有 <&{_SHEET}>]",
            f"有 没有 {_LETTERHEAD}[ ， <,{_SHEET}>] ？",
        ),
        "chart": (
            f"哪 张 {_PLOT} 的 <&{_PEAK}> ？",
            f"请 找 {_PLOT}[ ， <,{_PEAK}>]",
            "{chart} ~ <+{title};{color};{peak} 最高;数值 {number}>",
            f"给 我 看 {_PLOT}[ ， <,{_PEAK}>]",
            f"有 没有 {_PLOT}[ ， <,{_PEAK}>] ？",
        ),
        "screenshot": (
            f"哪 个[ {{company}} 的] 对话框 有 <&{_DIALOG}> ？",
            f"请 找[ {{company}} 的] 对话框[ ， <,{_DIALOG}>]",
            "对话框 ~ <+{company};{icon} 图标;{fault};代码 {number};{button} 按钮;{color} 页眉>",
            f"给 我 看[ {{company}} 的] 对话框[ ， 有 <&{_DIALOG}>]",
            f"有 没有[ {{company}} 的] 对话框[ ， <,{_DIALOG}>] ？",
        ),
        "motion": (
            "哪 段 视频 有 {thing.a}[ {direction}] 移动[ ， {other_thing.a} 不动] ？",
            "请 找 {thing.a}[ {direction}] 移动[ ， {other_thing.a} 不动] 的 视频",
            "{thing}[ {direction}] 移动[ ， {other_thing} 不动]",
            "给 我 看[ {direction}] 移动 的 {thing}[ 和 不动 的 {other_thing}]",
        ),
        "change": (
            "哪 段 视频 有 {thing.a}[ {moment}] {event}[ ， {other_thing.a} 不变] ？",
            "请 找 {thing.a}[ {moment}] {event}[ ， {other_thing.a} 不变] 的 视频",
            "{thing}[ {moment}] {event}[ ， {other_thing} 不变]",
            "给 我 看[ {moment}] {event} 的 {thing}[ 和 不变 的 {other_thing}]",
        ),
        "recolor": (
            "哪 段 视频 有 {thing.a}[ {moment}] {turn} ？",
            "请 找 {thing.a}[ {moment}] {turn} 的 视频",
            "{thing}[ {moment}] {turn}",
            "给 我 看[ {moment}] {turn} 的 {thing}",
        ),
        "product": (
            "哪 个[ {company} 的] 商品 是 {thing.a}[ ， 价格 {number}] ？",
            "请 找[ {company} 的] 商品 ， {thing.a}[ ， 价格 {number}]",
            "商品 ~ <+{thing};{company};价格 {number}>",
            "给 我 看[ {company} 的][ 价格 {number} 的] 商品 {thing}",
        ),
    },
    describe={
        "pair": (
            "{other_thing.a} 的 {relation.far} 是 {thing.a} 。",
            "图 中 {thing.a} 位于 {other_thing.a} 的 {relation.far} 。",
            "图 ： {thing} 位于 {other_thing} {relation.far}",
            "图 中 有 {thing.a}[ 与 {other_thing.a}] 。",
            "图 ： {thing}[ 与 {other_thing}]",
        ),
        "count": (
            "图 中 有 {many}[ 与 {other_thing.a}] 。",
            "图 ： {many}[ ， {other_thing}]",
            "这里 是 {many}[ ， 还有 {other_thing.a}] 。",
        ),
        "page": (
            "这 是[ {company} 的] {paper}[ ， 主题 {title}][ ， <,号码 {number};{color} 横幅;件数 {quantity}>] 。",
            "{paper} ： <,来自 {company};主题 {title};号码 {number};横幅 {color};件数 {quantity}>",
            "{paper}[ 主题 是 {title}][ ， 来自 {company}][ ， <,号码 {number};件数 {quantity};{color} 横幅>] 。",
        ),
        "chart": (
            "这 是[ {color}] {chart}[ ， 主题 {title}][ ， <,最高 在 {peak};最大值 {number}>] 。",
            "{chart} ： <,主题 {title};颜色 {color};最高 在 {peak};最大值 {number}>",
            "{chart}[ 主题 是 {title}][ ， <,{color};最大值 {number};最高 在 {peak}>] 。",
        ),
        "screenshot": (
            "这 是[ {company} 的] 窗口[ ， <,{icon} 标志;提示 {fault};号码 {number};请 按 {button};{color} 横幅>] 。",
            "窗口 ： <,来自 {company};{icon} 标志;提示 {fault};号码 {number};按 {button};横幅 {color}>",
            "[{company} 的 ]窗口 提示 {fault}[ ， <,号码 {number};{icon} 标志;{color} 横幅;请 按 {button}>] 。",
        ),
        "motion": (
            "{thing.a}[ {direction}] 滑动[ ， {other_thing.a} 静止] 。",
            "录像 ： {thing}[ {direction}] 滑动[ ， {other_thing} 静止]",
            "[{other_thing.a} 静止 ， ]有 {thing.a}[ {direction}] 滑动 。",
        ),
        "change": (
            "{thing.a}[ {moment.far}] {event.far}[ ， {other_thing.a} 一直 在] 。",
            "录像 ： {thing}[ {moment.far}] {event.far}[ ， {other_thing} 一直 在]",
            "[{other_thing.a} 一直 在 ， ]有 {thing.a}[ {moment.far}] {event.far} 。",
        ),
        "recolor": (
            "{thing.a}[ {moment.far}] {turn.far} 。",
            "录像 ： {thing}[ {moment.far}] {turn.far}",
            "[{moment.far}]有 {thing.a} {turn.far} 。",
        ),
        "product": (
            "出售 {thing.a}[ ， 来自 {company}][ ， 售价 {number}] 。",
            "{company} 出售 {thing.a}[ ， 售价 {number}] 。",
            "出售 ： <,{thing};来自 {company};售价 {number}>",
        ),
    },
    label=(
        "来自 {company} ， 售价 {number}",
        "{company} 出售 ， 价格 {number} 。",
        "{company} 的 商品 ， 售价 {number} 。",
        "价格 {number} ， 来自 {company}",
    ),
    changes={
        "pair": {
            "color": ("有 {thing.a}", "{shape} 是 {paint} 的"),
            "shape": ("有 {thing.a}", "{paint} 的 是 {shape}"),
            "relation": ("{thing} 在 {other_thing} 的 {relation}", "有 {thing.a} 在 {other_thing.a} 的 {relation}"),
            "other_color": ("有 {other_thing.a}", "{other_shape} 是 {other_paint} 的"),
            "other_shape": ("有 {other_thing.a}", "{other_paint} 的 是 {other_shape}"),
            "everything": (
                "有 {thing.a} 在 {other_thing.a} 的 {relation}",
                "{thing.a} 在 {other_thing.a} 的 {relation}",
            ),
        },
        "count": {
            "count": ("有 {many}", "是 {many}"),
            "color": ("有 {many}", "几 个 {shape} 是 {paint} 的"),
            "shape": ("有 {many}", "几 个 {paint} 的 是 {shape}"),
            "other_color": ("有 {other_thing.a}", "另 一个 是 {other_thing}"),
            "other_shape": ("有 {other_thing.a}", "另 一个 是 {other_thing}"),
        },
        "page": {
            "type": ("是 {paper}", "换 成 {paper}"),
            "company": ("来自 {company}", "是 {company} 的"),
            "title": ("关于 {title}", "主题 是 {title}"),
            "number": ("编号 {number}", "号码 是 {number}"),
            "color": ("有 {color} 页眉", "页眉 是 {color} 的"),
            "quantity": ("数量 {quantity}", "数量 是 {quantity}"),
        },
        "chart": {
            "type": ("是 {chart}", "换 成 {chart}"),
            "title": ("关于 {title}", "主题 是 {title}"),
            "color": ("是 {color} 的", "颜色 是 {color}"),
            "peak": ("{peak} 最高", "最高 在 {peak}"),
            "number": ("数值 {number}", "最大值 是 {number}"),
        },
        "screenshot": {
            "icon": ("有 {icon} 图标", "图标 是 {icon}"),
            "company": ("来自 {company}", "是 {company} 的"),
            "fault": ("消息 {fault}", "消息 是 {fault}"),
            "number": ("代码 {number}", "代码 是 {number}"),
            "button": ("有 {button} 按钮", "按钮 是 {button}"),
            "color": ("有 {color} 页眉", "页眉 是 {color} 的"),
        },
    },
    change_frames=("一样 ， 不过 @", "像 这 个 ， 不过 @", "这 个 ， 不过 @"),
    joins={"&": ("、", " 和 "), ",": (" ， ", " ， "), "+": ("~", "~")},
)
