"""How results look: on a page of their own, light or dark as the reader's system, and in a notebook of any theme."""

from __future__ import annotations

__all__ = ["NOTEBOOK_STYLE", "PAGE_STYLE", "RESULTS_STYLE"]

# Every rule begins with the class of the outermost element: in a notebook, nothing beside the results may change.
_TILE_STYLE = """
.qwen3vl .tile {
  border: 1px solid var(--line); border-radius: 12px; overflow: hidden; display: flex; flex-direction: column;
}
.qwen3vl .tile.answer {
  border-color: var(--answer); box-shadow: 0 0 0 1px var(--answer); background: var(--answer-ground);
}
.qwen3vl .picture {
  aspect-ratio: 1; display: grid; place-items: center; background: var(--ground); overflow: hidden;
  border-bottom: 1px solid var(--line);
}
.qwen3vl .picture img { width: 100%; height: 100%; min-height: 0; object-fit: contain; padding: 8px; display: block; }
.qwen3vl .paper { background: var(--paper); padding: 18px; }
.qwen3vl .paper p {
  color: var(--paper-ink); width: 100%; overflow-wrap: anywhere;
  font: 16px/1.5 Georgia, "Noto Serif", "Noto Serif CJK SC", serif;
}
.qwen3vl .unreadable { color: var(--quiet); font-size: 32px; }
.qwen3vl .caption { padding: 10px 12px 12px; display: flex; flex-direction: column; flex: 1; }
.qwen3vl .order { display: flex; gap: 8px; align-items: baseline; font-size: 13px; color: var(--quiet); }
.qwen3vl .order b { color: var(--ink); font-size: 15px; }
.qwen3vl .mark { margin-left: auto; color: var(--answer); font-weight: 700; font-size: 16px; line-height: 1; }
.qwen3vl .name { font-size: 14px; font-weight: 600; overflow-wrap: anywhere; line-height: 1.35; }
.qwen3vl .parent { color: var(--quiet); font-weight: 400; }
.qwen3vl .place { font-size: 13px; color: var(--quiet); min-height: 1.5em; }
.qwen3vl .scores { margin-top: auto; padding-top: 4px; font-size: 13px; }
.qwen3vl .scores div { display: flex; justify-content: space-between; gap: 8px; }
.qwen3vl .meter { height: 4px; border-radius: 2px; background: var(--line); margin-top: 4px; overflow: hidden; }
.qwen3vl .meter i { display: block; height: 100%; background: var(--accent); }
.qwen3vl .answer .meter i { background: var(--answer); }
"""

_GRID_STYLE = """
.qwen3vl ol.grid {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(var(--tile), 100%), 1fr)); gap: 14px;
  list-style: none; margin: 0; padding: 0;
}
.qwen3vl .grid .tile { background: var(--card); }
.qwen3vl .grid .paper { place-items: start; }
.qwen3vl .grid .paper p {
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: var(--paper-lines); overflow: hidden;
}
.qwen3vl .grid .unreadable { font-size: 14px; text-align: center; padding: 18px; }
.qwen3vl .grid .place { min-height: 0; }
.qwen3vl .badge {
  margin-left: auto; padding: 0 7px; border: 1px solid var(--line); border-radius: 9px; font-size: 12px;
}
.qwen3vl .excerpt {
  font-size: 13px; line-height: 1.4; color: var(--quiet); margin-top: 4px; overflow-wrap: anywhere;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden;
}
.qwen3vl .grid .scores { padding-top: 8px; }
"""

PAGE_STYLE = f"""
:root {{
  --ground: #f5f6f8; --card: #ffffff; --line: #e2e5ea; --ink: #1a212c; --quiet: #667080;
  --answer: #0f7a53; --answer-ground: #e5f5ee; --accent: #3457d5; --warn: #7a4d05; --warn-ground: #fdf3dc;
  --paper: #fffdf6; --paper-ink: #333a45; --paper-lines: 9; --tile: 240px;
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --ground: #101319; --card: #191e27; --line: #2c3340; --ink: #e7eaf0; --quiet: #98a2b3;
    --answer: #46d39a; --answer-ground: #123126; --accent: #8aa5ff; --warn: #f2cd7e; --warn-ground: #33280f;
    --paper: #262b35; --paper-ink: #d9dee7;
  }}
}}
* {{ box-sizing: border-box; margin: 0; }}
html {{ -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }}
body {{
  background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif;
}}
main {{ max-width: 1160px; margin: 0 auto; padding: 40px 24px 80px; }}
h1 {{ font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; }}
a {{ color: var(--accent); text-decoration: none; }}
a:hover {{ text-decoration: underline; }}
dt {{ color: var(--quiet); font-size: 13px; }}
dd {{ font-variant-numeric: tabular-nums; }}
.details {{ display: flex; flex-wrap: wrap; gap: 4px 28px; margin-top: 16px; }}
.details div {{ display: flex; gap: 6px; align-items: baseline; max-width: 100%; }}
.details dd {{ font-size: 13px; overflow-wrap: anywhere; }}
section {{
  margin-top: 32px; padding: 24px; background: var(--card); border: 1px solid var(--line); border-radius: 16px;
  scroll-margin-top: 12px;
}}
section ul {{ padding-left: 20px; margin-top: 10px; overflow-wrap: anywhere; }}
.question {{ display: flex; gap: 20px; align-items: center; }}
.asked {{ width: 116px; height: auto; border-radius: 10px; border: 1px solid var(--line); flex: none; }}
.kind {{ color: var(--quiet); font-size: 13px; }}
h2 {{ font-size: 22px; line-height: 1.3; letter-spacing: -0.01em; overflow-wrap: anywhere; }}
.outcome {{ font-size: 14px; color: var(--quiet); margin-top: 2px; }}
{_TILE_STYLE}
@media (max-width: 760px) {{
  main {{ padding: 24px 14px 56px; }}
  h1 {{ font-size: 25px; }}
  h2 {{ font-size: 19px; }}
  section {{ padding: 18px 14px; }}
  .asked {{ width: 84px; }}
}}
"""
"""The colours of a page, its headings and sections, and the tiles."""

RESULTS_STYLE = f"""{PAGE_STYLE}
{_GRID_STYLE}
main > header {{ margin-bottom: 28px; }}
.question h1 {{ overflow-wrap: anywhere; font-size: 26px; line-height: 1.25; }}
.question > div {{ min-width: 0; }}
.asked-for {{ display: flex; flex-wrap: wrap; gap: 8px; flex: none; max-width: 50%; }}
.missing {{
  display: grid; place-items: center; aspect-ratio: 1; padding: 8px; font-size: 13px; text-align: center;
  color: var(--quiet);
}}
@media (max-width: 760px) {{
  :root {{ --tile: 150px; --paper-lines: 5; }}
  .question h1 {{ font-size: 21px; }}
}}
"""
"""A page of one search."""

# The theme of a notebook is not the system's, and every program marks it in its own way: text takes the colour that is
# there, lines and grounds are grey that lets the ground through, and paper is paper in the dark, too.
NOTEBOOK_STYLE = f"""
.qwen3vl.notebook {{
  --ground: rgba(128, 128, 128, 0.10); --card: transparent; --line: rgba(128, 128, 128, 0.32); --ink: currentColor;
  --quiet: #7d8590; --answer: #2da77a; --answer-ground: transparent; --accent: #5b7cfa;
  --paper: #fffdf6; --paper-ink: #333a45; --paper-lines: 6; --tile: 180px;
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif;
  max-width: 1160px; padding: 4px 2px;
}}
@supports (color: color-mix(in srgb, red, blue)) {{
  .qwen3vl.notebook {{ --quiet: color-mix(in srgb, currentColor 68%, transparent); }}
}}
.qwen3vl.notebook, .qwen3vl.notebook * {{ box-sizing: border-box; text-align: start; }}
.qwen3vl.notebook p, .qwen3vl.notebook dl, .qwen3vl.notebook dt, .qwen3vl.notebook dd,
.qwen3vl.notebook li.tile, .qwen3vl.notebook img {{ margin: 0; padding: 0; max-width: none; }}
.qwen3vl.notebook dt, .qwen3vl.notebook dd {{ float: none; width: auto; font-weight: inherit; }}
.qwen3vl.notebook dt {{ color: var(--quiet); }}
.qwen3vl.notebook dd {{ font-variant-numeric: tabular-nums; }}
{_TILE_STYLE}
{_GRID_STYLE}
.qwen3vl.notebook .picture img {{ padding: 8px; }}
.qwen3vl.notebook .order {{ color: inherit; }}
.qwen3vl.notebook .order span {{ color: var(--quiet); }}
.qwen3vl.notebook .scores {{ margin-top: auto; padding-top: 8px; }}
.qwen3vl.notebook .meter {{ margin-top: 4px; }}
.qwen3vl.notebook p.summary {{ color: var(--quiet); font-size: 13px; margin-bottom: 10px; }}
.qwen3vl.notebook p.more {{ color: var(--quiet); font-size: 13px; margin-top: 10px; }}
.qwen3vl.notebook p.excerpt {{ margin-top: 4px; }}
"""
"""Tiles among other outputs."""
