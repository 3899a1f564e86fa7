/** The page's own style, for light and dark: every colour has a name here and nowhere else. */
export const style = `
:root { color-scheme: light dark; --page: #fbfbfa; --panel: #ffffff; --ink: #1d2126; --soft: #5b646e; --line: #dcdfe3;
  --naive: #a4acb5; --tuned: #3d7ab8; --posthorn: #d4581a; --other: #5f8f4e; --bad: #b3261e; --bad-page: #fdecea; --good: #2e7d4f;
  --b0: #7b5ea7; --b1: #2f8f83; --b2: #b5832a; --b3: #c04b75 }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --panel: #1b2024; --ink: #e6e9ec; --soft: #9aa5af; --line: #323a41;
  --naive: #6f7a84; --tuned: #6aa9e4; --posthorn: #ff9455; --other: #8fc07c; --bad: #ff8a80; --bad-page: #3a1f1d; --good: #7ccf9c;
  --b0: #b79be6; --b1: #5fcabc; --b2: #e3b45c; --b3: #f08bb0 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 24px 20px 60px; max-width: 1240px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
h1 { font-size: 26px; margin: 0 0 2px; letter-spacing: -0.01em }
h2 { font-size: 19px; margin: 44px 0 4px; padding-top: 14px; border-top: 1px solid var(--line) }
h3 { font-size: 14px; margin: 18px 0 6px; color: var(--soft); font-weight: 600 }
p { margin: 4px 0 10px; max-width: 90ch } .soft { color: var(--soft); font-size: 13.5px }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 14px }
figure { margin: 0; padding: 10px 12px 8px; background: var(--panel); border: 1px solid var(--line); border-radius: 8px }
figure.wide { grid-column: 1 / -1 }
figcaption { font-size: 13.5px; font-weight: 600; margin-bottom: 4px }
svg { display: block; width: 100%; height: auto; overflow: visible }
svg text { font: 11px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink) }
svg .soft, svg .axis { fill: var(--soft) } svg .grid { stroke: var(--line); stroke-width: 1 } svg .mark { stroke: var(--soft); stroke-dasharray: 3 3 }
svg .spread { stroke: var(--ink); stroke-width: 1.2; opacity: 0.55 }
.naive { fill: var(--naive) } .tuned { fill: var(--tuned) } .posthorn { fill: var(--posthorn) } .other { fill: var(--other) }
.b0 { fill: var(--b0) } .b1 { fill: var(--b1) } .b2 { fill: var(--b2) } .b3 { fill: var(--b3) }
line.naive, path.naive { stroke: var(--naive) } line.tuned { stroke: var(--tuned) } line.posthorn { stroke: var(--posthorn) } line.other { stroke: var(--other) }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; margin: 8px 0 10px; color: var(--soft) }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; vertical-align: -1px }
.key i.naive { background: var(--naive) } .key i.tuned { background: var(--tuned) } .key i.posthorn { background: var(--posthorn) } .key i.other { background: var(--other) }
.key i.b0 { background: var(--b0) } .key i.b1 { background: var(--b1) } .key i.b2 { background: var(--b2) } .key i.b3 { background: var(--b3) }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: 12.5px; font-variant-numeric: tabular-nums; margin: 6px 0 }
th, td { padding: 3px 10px 3px 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600; text-align: right; vertical-align: bottom } th:first-child, td:first-child { text-align: left }
td.text { text-align: left; white-space: normal } tr.bad td { color: var(--bad); background: var(--bad-page) }
.met { color: var(--good) } .unmet, .flag { color: var(--bad); font-weight: 600 }
details { margin: 10px 0 } summary { cursor: pointer; color: var(--soft); font-size: 13.5px }
`
