"""How the page of searches looks: as results do, and on a phone rows that slide sideways."""

from __future__ import annotations

from qwen3_vl_retrieval.index.results.style import PAGE_STYLE

__all__ = ["STYLE"]

STYLE = f"""{PAGE_STYLE}
.introduction {{ color: var(--quiet); margin-top: 8px; max-width: 68ch; }}
.notice {{
  margin-top: 20px; padding: 12px 16px; border-radius: 10px; max-width: 90ch;
  background: var(--warn-ground); color: var(--warn);
}}
.figures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin-top: 24px; }}
.figure {{ background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 18px; }}
.figure dd {{ font-size: 25px; font-weight: 650; letter-spacing: -0.01em; white-space: nowrap; }}
.before {{ color: var(--quiet); font-weight: 400; }}
.overview {{ margin-top: 28px; width: 100%; max-width: 720px; border-collapse: collapse; font-size: 15px; }}
.overview th {{ text-align: left; font-weight: 500; font-size: 13px; color: var(--quiet); }}
.overview th, .overview td {{ padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); }}
.overview .number {{ color: var(--quiet); width: 2em; }}
.rank {{ font-weight: 600; white-space: nowrap; }}
.rank.best {{ color: var(--answer); }}
.rank.missing {{ color: var(--quiet); font-weight: 400; }}
h3 {{ font-size: 13px; font-weight: 600; color: var(--quiet); margin: 20px 0 8px; }}
.row {{ display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 12px; list-style: none; padding: 0; }}
@media (max-width: 760px) {{
  .figures {{ grid-template-columns: 1fr 1fr; gap: 8px; }}
  .figure {{ padding: 10px 12px; }}
  .figure dd {{ font-size: 19px; }}
  .row {{
    grid-template-columns: none; grid-auto-flow: column; grid-auto-columns: 46%; overflow-x: auto;
    scroll-snap-type: x proximity; padding: 2px 2px 10px;
  }}
  .tile {{ scroll-snap-align: start; }}
}}
"""
