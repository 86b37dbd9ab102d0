"""How the page of searches looks: light or dark as the reader's system, and on a phone rows that slide sideways."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root {
  --ground: #f5f6f8; --card: #ffffff; --line: #e2e5ea; --ink: #1a212c; --quiet: #667080;
  --answer: #0f7a53; --answer-ground: #e5f5ee; --accent: #3457d5; --warn: #7a4d05; --warn-ground: #fdf3dc;
  --paper: #fffdf6; --paper-ink: #333a45;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #101319; --card: #191e27; --line: #2c3340; --ink: #e7eaf0; --quiet: #98a2b3;
    --answer: #46d39a; --answer-ground: #123126; --accent: #8aa5ff; --warn: #f2cd7e; --warn-ground: #33280f;
    --paper: #262b35; --paper-ink: #d9dee7;
  }
}
* { box-sizing: border-box; margin: 0; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif;
}
main { max-width: 1160px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.introduction { color: var(--quiet); margin-top: 8px; max-width: 68ch; }
.notice {
  margin-top: 20px; padding: 12px 16px; border-radius: 10px; max-width: 90ch;
  background: var(--warn-ground); color: var(--warn);
}
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin-top: 24px; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 18px; }
dt { color: var(--quiet); font-size: 13px; }
dd { font-variant-numeric: tabular-nums; }
.figure dd { font-size: 25px; font-weight: 650; letter-spacing: -0.01em; white-space: nowrap; }
.before { color: var(--quiet); font-weight: 400; }
.details { display: flex; flex-wrap: wrap; gap: 4px 28px; margin-top: 16px; }
.details div { display: flex; gap: 6px; align-items: baseline; max-width: 100%; }
.details dd { font-size: 13px; overflow-wrap: anywhere; }
.overview { margin-top: 28px; width: 100%; max-width: 720px; border-collapse: collapse; font-size: 15px; }
.overview th { text-align: left; font-weight: 500; font-size: 13px; color: var(--quiet); }
.overview th, .overview td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); }
.overview .number { color: var(--quiet); width: 2em; }
.rank { font-weight: 600; white-space: nowrap; }
.rank.best { color: var(--answer); }
.rank.missing { color: var(--quiet); font-weight: 400; }
section {
  margin-top: 32px; padding: 24px; background: var(--card); border: 1px solid var(--line); border-radius: 16px;
  scroll-margin-top: 12px;
}
section ul { padding-left: 20px; margin-top: 10px; }
.question { display: flex; gap: 20px; align-items: center; }
.asked { width: 116px; height: auto; border-radius: 10px; border: 1px solid var(--line); flex: none; }
.kind { color: var(--quiet); font-size: 13px; }
h2 { font-size: 22px; line-height: 1.3; letter-spacing: -0.01em; overflow-wrap: anywhere; }
.outcome { font-size: 14px; color: var(--quiet); margin-top: 2px; }
h3 { font-size: 13px; font-weight: 600; color: var(--quiet); margin: 20px 0 8px; }
.row { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 12px; list-style: none; padding: 0; }
.tile { border: 1px solid var(--line); border-radius: 12px; overflow: hidden; display: flex; flex-direction: column; }
.tile.answer { border-color: var(--answer); box-shadow: 0 0 0 1px var(--answer); background: var(--answer-ground); }
.picture {
  aspect-ratio: 1; display: grid; place-items: center; background: var(--ground); overflow: hidden;
  border-bottom: 1px solid var(--line);
}
.picture img { width: 100%; height: 100%; min-height: 0; object-fit: contain; padding: 8px; display: block; }
.paper { background: var(--paper); padding: 18px; }
.paper p {
  color: var(--paper-ink); width: 100%; overflow-wrap: anywhere;
  font: 16px/1.5 Georgia, "Noto Serif", "Noto Serif CJK SC", serif;
}
.unreadable { color: var(--quiet); font-size: 32px; }
.caption { padding: 10px 12px 12px; display: flex; flex-direction: column; flex: 1; }
.order { display: flex; gap: 8px; align-items: baseline; font-size: 13px; color: var(--quiet); }
.order b { color: var(--ink); font-size: 15px; }
.mark { margin-left: auto; color: var(--answer); font-weight: 700; font-size: 16px; line-height: 1; }
.name { font-size: 14px; font-weight: 600; overflow-wrap: anywhere; line-height: 1.35; }
.parent { color: var(--quiet); font-weight: 400; }
.place { font-size: 13px; color: var(--quiet); min-height: 1.5em; }
.scores { margin-top: auto; padding-top: 4px; font-size: 13px; }
.scores div { display: flex; justify-content: space-between; gap: 8px; }
.meter { height: 4px; border-radius: 2px; background: var(--line); margin-top: 4px; overflow: hidden; }
.meter i { display: block; height: 100%; background: var(--accent); }
.answer .meter i { background: var(--answer); }
@media (max-width: 760px) {
  main { padding: 24px 14px 56px; }
  h1 { font-size: 25px; }
  h2 { font-size: 19px; }
  .figures { grid-template-columns: 1fr 1fr; gap: 8px; }
  .figure { padding: 10px 12px; }
  .figure dd { font-size: 19px; }
  section { padding: 18px 14px; }
  .asked { width: 84px; }
  .row {
    grid-template-columns: none; grid-auto-flow: column; grid-auto-columns: 46%; overflow-x: auto;
    scroll-snap-type: x proximity; padding: 2px 2px 10px;
  }
  .tile { scroll-snap-align: start; }
}
"""
