"""Notes of the office in English, French and Chinese."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_notes"]

_NOTES = {
    "meeting-2024-03-18.md": """# Weekly meeting, 18 March 2024

Present: Okafor, Lindqvist, Baptiste, Wen.

## Furniture

The blue chairs have arrived, but two of the green lamps are missing from the delivery. Okafor writes to Halloran
Office Supplies and keeps the delivery note.

## Car park

The camera recorded a red car in the visitors' place on Sunday evening. Lindqvist asks the landlord whose it is.

## Sales

Umbrellas sold best in the last quarter, as every year. Wen suggests ordering the yellow ones in July.
""",
    "kitchen-rules.txt": """Kitchen rules

1. The orange kettle is switched off at the wall every evening.
2. Red mugs belong to the workshop; everybody else uses the white ones.
3. Whoever finishes the coffee makes the next pot.
4. The fridge is emptied on the last Friday of the month.
""",
    "door-codes-policy.txt": """Access to the building

Door codes change on the first working day of each quarter. Codes are given in person, never by e-mail.
Visitors sign the book at the loading dock and are accompanied on the second floor.
Lost key cards are reported to the landlord within one hour.
""",
    "guide-imprimante.md": """# Guide de l'imprimante

## Bourrage papier

Ouvrez le capot gris, retirez la feuille en tirant doucement vers vous, puis refermez. Si le voyant reste rouge,
débranchez l'imprimante pendant trente secondes.

## Encre

Les cartouches se trouvent dans les archives, deuxième étage. Prévenez Mme Baptiste quand il n'en reste que deux.
""",
    "consignes-incendie.txt": """Consignes en cas d'incendie

Déclenchez l'alarme près de la cuisine. N'utilisez pas l'ascenseur.
Le point de rassemblement est le quai de chargement, derrière le camion blanc et rouge.
Attendez l'appel avant de quitter les lieux.
""",
    "huiyi-jiyao.txt": """会议纪要 2024年3月25日

出席：温、奥卡福、林奎斯特。

一、台灯：供应商确认少发两盏绿色台灯，本周五补发。
二、雨伞：第四季度黄色雨伞销量最高，建议七月提前订货。
三、停车场：红色轿车属于房东，今后请停在访客车位以外。
""",
    "xinren-zhinan.md": """# 新员工指南

## 第一天

请到二楼会议室领取门禁卡，并在装卸区登记簿上签名。门禁密码每季度更换一次。

## 办公用品

蓝色椅子和绿色台灯可向仓库申请。红色杯子属于车间，请使用白色杯子。
""",
    "price-list.csv": """article,colour,price_eur,guarantee_years
chair C4,blue,95.00,5
desk lamp L2,green,38.00,2
umbrella U1,yellow,17.50,1
kettle K3,orange,42.00,2
headphones H7,black,89.00,2
mug M1,red,6.50,0
""",
    "shipping-labels.json": """{
  "sender": "Halloran Office Supplies",
  "parcels": [
    {"number": 1, "content": "desk lamps, green", "pieces": 2, "weight_kg": 3.4},
    {"number": 2, "content": "umbrellas, yellow", "pieces": 40, "weight_kg": 18.0}
  ]
}
""",
}


def write_notes(folder: Path) -> list[Path]:
    """Writes the notes into `folder/notes`; returns their paths."""
    notes = folder / "notes"
    notes.mkdir(parents=True, exist_ok=True)
    for name, text in _NOTES.items():
        (notes / name).write_bytes(text.encode("utf-8"))
    return [notes / name for name in _NOTES]
