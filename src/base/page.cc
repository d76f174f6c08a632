// SPDX-License-Identifier: Apache-2.0
#include "base/page.h"

#include <fmt/format.h>

#include "base/plot.h"

namespace planish {
namespace {

// Colours of lines: eight that people with any colour vision can tell apart, lighter ones on dark ground.
constexpr const char* kStyle = R"css(
:root{color-scheme:light dark;--ground:#fbfbfa;--panel:#fff;--text:#1c1f23;--soft:#667078;--line:#e3e5e8;--edge:#c9cdd2;
--c0:#1f6fb4;--c1:#d9620f;--c2:#13865c;--c3:#b8408c;--c4:#8a6d00;--c5:#6a51b8;--c6:#2a98a8;--c7:#7a4a2b;--bad:#b3261e;--good:#13704c}
@media(prefers-color-scheme:dark){:root:not([data-theme=light]){--ground:#14171a;--panel:#1c2024;--text:#e6e9ec;--soft:#97a1aa;
--line:#2c3238;--edge:#4a525a;--c0:#62aef0;--c1:#f59a52;--c2:#4fc796;--c3:#ea86c4;--c4:#d9bb4a;--c5:#aa97f0;--c6:#62cfdc;--c7:#c99a77;
--bad:#ff8a80;--good:#6fd6a8}}
:root[data-theme=dark]{color-scheme:dark;--ground:#14171a;--panel:#1c2024;--text:#e6e9ec;--soft:#97a1aa;
--line:#2c3238;--edge:#4a525a;--c0:#62aef0;--c1:#f59a52;--c2:#4fc796;--c3:#ea86c4;--c4:#d9bb4a;--c5:#aa97f0;--c6:#62cfdc;--c7:#c99a77;
--bad:#ff8a80;--good:#6fd6a8}
:root[data-theme=light]{color-scheme:light}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1280px;margin:0 auto;padding:20px 24px 60px}
.top{display:flex;align-items:baseline;justify-content:space-between;gap:16px}
h1{font-size:24px;font-weight:650;margin:8px 0 16px;overflow-wrap:anywhere}
h2{font-size:17px;font-weight:650;margin:32px 0 10px}
h3{font-size:15px;margin:16px 0 8px}
button{font:inherit;font-size:12.5px;color:var(--soft);background:none;border:1px solid var(--line);border-radius:6px;padding:2px 9px;cursor:pointer}
button:hover,button[aria-pressed=true]{color:var(--text);border-color:var(--edge)}
.cards{display:flex;flex-wrap:wrap;gap:12px;margin-bottom:18px}
.card{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:10px 18px 9px;min-width:132px}
.card b{display:block;font-size:23px;font-weight:650;font-variant-numeric:tabular-nums}
.card span{color:var(--soft);font-size:13px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,540px),1fr));gap:16px}
.plot,.scatter{position:relative;margin:0;background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:12px 12px 10px}
figcaption{display:flex;justify-content:space-between;align-items:center;font-weight:600;font-size:14.5px;padding:0 4px 6px}
svg{display:block;width:100%;height:auto;overflow:visible;touch-action:pan-y}
.grid{stroke:var(--line)}.axis{stroke:var(--edge)}
.tick{fill:var(--soft);font-size:11.5px;font-variant-numeric:tabular-nums}.label{fill:var(--soft);font-size:12px}
.end{text-anchor:end}.middle{text-anchor:middle}
.line{fill:none;stroke-width:1.7;stroke-linejoin:round;stroke-linecap:round}
.faint{opacity:.28;stroke-width:1}
.log,.uses-log .linear{display:none}.uses-log .log{display:inline}
.front{stroke:var(--soft);stroke-dasharray:2 3}.diagonal{stroke:var(--edge)}
.scatter circle{stroke:var(--panel);stroke-width:1}.legend .dot{width:9px;height:9px;border-radius:50%}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;padding:2px 4px 0 52px;font-size:12.5px;color:var(--soft)}
.legend i,th i{display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle}
.legend .dashed{opacity:.55}
.bars{margin:0;background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:12px 12px 10px}
.whisker{stroke-width:1.3;opacity:.75}.name{fill:var(--text);font-size:12px}
.hover line{stroke:var(--edge)}
.tip{position:absolute;pointer-events:none;background:var(--panel);border:1px solid var(--edge);border-radius:8px;padding:5px 10px;
font-size:12.5px;font-variant-numeric:tabular-nums;box-shadow:0 3px 14px rgba(0,0,0,.16);white-space:nowrap;z-index:2}
.tip i{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:6px}
.tip b{margin-left:12px;float:right;font-weight:600}
.scroll{overflow-x:auto}
table{border-collapse:separate;border-spacing:0;background:var(--panel);border:1px solid var(--line);border-radius:10px;font-size:14px;min-width:50%}
th,td{padding:5px 14px;text-align:left;border-top:1px solid var(--line);font-variant-numeric:tabular-nums;vertical-align:top}
tr:first-child>*{border-top:0}
th{font-weight:500;color:var(--soft)}
.number{text-align:right;white-space:nowrap}
em{font-style:normal;font-weight:600}.bad{color:var(--bad)}.good{color:var(--good)}
.scatter .name{paint-order:stroke;stroke:var(--panel);stroke-width:3px}
.sortable tbody tr:first-child>*{border-top:1px solid var(--line)}
.sortable td:first-child{min-width:6em}
.sortable thead th{white-space:normal;vertical-align:bottom}
.sortable th button{font-size:inherit;border:0;padding:0;color:inherit;text-align:inherit}
.sortable [aria-sort=ascending] button::after{content:" ↑"}.sortable [aria-sort=descending] button::after{content:" ↓"}
.tip.text{position:fixed;white-space:pre-line;max-width:420px}
details{margin:8px 0}summary{cursor:pointer;color:var(--soft)}
article{background:var(--panel);border:1px solid var(--line);border-radius:10px;margin:10px 0;overflow:hidden}
article header{color:var(--soft);font-size:12.5px;padding:7px 14px;border-bottom:1px solid var(--line)}
pre{margin:0;padding:10px 14px;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.55 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
details>pre{background:var(--panel);border:1px solid var(--line);border-radius:10px;margin-top:8px}
pre i{display:block}
.note{color:var(--soft);font-size:13px;margin:4px 0}
)css";

// Only switches scales and theme, and shows values under the pointer; without it the page is whole.
constexpr const char* kScript = R"js(
"use strict";
document.getElementById("theme").onclick = () => {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark"
                                    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
};
const format = (value, unit) => {
  if (unit === "percent") return (100 * value).toPrecision(3) + " %";
  const size = Math.abs(value);
  if (unit === "count" || size >= 1e5) {
    for (const [scale, suffix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (size >= scale) return Number((value / scale).toPrecision(5)) + suffix;
  }
  if (size !== 0 && size < 1e-4) return value.toExponential(2);
  return String(Number(value.toPrecision(5))) + (unit === "ms" ? " ms" : "");
};
// Index of the x nearest to the wanted one, by bisection.
const nearest = (xs, x) => {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle; else high = middle;
  }
  return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
};
for (const button of document.querySelectorAll("button.scale")) {
  const figure = button.closest("figure");
  button.setAttribute("aria-pressed", figure.classList.contains("uses-log"));
  button.onclick = () => {
    button.setAttribute("aria-pressed", figure.classList.toggle("uses-log"));
    figure.dispatchEvent(new Event("scale"));
  };
}
// What an element says of itself, beside the pointer.
const note = document.createElement("div");
note.className = "tip text";
note.hidden = true;
document.body.append(note);
const showNote = event => {
  const element = event.target.closest?.("[data-tip]");
  note.hidden = !element;
  if (!element) return;
  note.textContent = element.dataset.tip;
  const left = event.clientX + 14, top = event.clientY + 14;
  note.style.left = Math.max(4, Math.min(left, innerWidth - note.offsetWidth - 8)) + "px";
  note.style.top = (top + note.offsetHeight > innerHeight - 4 ? top - note.offsetHeight - 28 : top) + "px";
};
document.addEventListener("pointermove", showNote);
document.addEventListener("pointerdown", showNote);
addEventListener("scroll", () => { note.hidden = true; }, {passive: true});
// Tables by the column whose name is pressed: numbers by data-value, texts as they are, cells without a value last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")], body = table.querySelector("tbody");
  heads.forEach((head, column) => {
    head.querySelector("button").onclick = () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const isNumber = head.classList.contains("number");
      const key = row => {
        const cell = row.children[column];
        return isNumber ? cell.dataset.value === undefined ? null : Number(cell.dataset.value) : cell.textContent;
      };
      const rows = [...body.rows].map(row => [key(row), row]);
      rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null)
                                                       : sign * (isNumber ? a - b : a.localeCompare(b)));
      body.append(...rows.map(([, row]) => row));
    };
  });
}
for (const figure of document.querySelectorAll(".plot")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const svg = figure.querySelector("svg"), hover = figure.querySelector(".hover");
  const isLog = () => figure.classList.contains("uses-log");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  figure.append(tip);
  const leave = () => { hover.replaceChildren(); tip.hidden = true; };
  figure.addEventListener("scale", leave);
  const shape = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const row = (color, name, value) => {
    const line = document.createElement("div");
    if (color !== null) {
      const dot = document.createElement("i");
      dot.style.background = `var(--c${color})`;
      line.append(dot);
    }
    const strong = document.createElement("b");
    strong.textContent = value;
    line.append(name, strong);
    return line;
  };
  svg.onpointerleave = leave;
  svg.onpointermove = event => {
    const box = svg.getBoundingClientRect(), scale = 720 / box.width;
    const px = (event.clientX - box.left) * scale;
    const wanted = (px - data.x[0]) / data.x[1];
    const [offset, factor] = isLog() ? data.log : data.linear;
    const smoothed = new Set(data.series.filter(s => !s.faint).map(s => s.name));
    hover.replaceChildren();
    let at = null;
    const rows = [];
    for (const series of data.series) {
      if (!series.x.length || (series.faint && !smoothed.has(series.name))) continue;
      const i = nearest(series.x, wanted), y = series.y[i];
      if (y === null || (isLog() && y <= 0)) continue;
      if (at === null || Math.abs(series.x[i] - wanted) < Math.abs(at - wanted)) at = series.x[i];
      const faint = series.faint ? ", this step" : "";
      rows.push(row(series.color, series.name + faint, format(y, data.yUnit)));
      hover.append(shape("circle", {
        cx: data.x[0] + data.x[1] * series.x[i],
        cy: offset + factor * (isLog() ? Math.log10(y) : y),
        r: series.faint ? 2.5 : 4, style: `fill:var(--c${series.color})`}));
    }
    if (at === null) return leave();
    const ax = data.x[0] + data.x[1] * at;
    hover.prepend(shape("line", {x1: ax, x2: ax, y1: 12, y2: 258}));
    const names = new Map(data.xNames);
    tip.replaceChildren(row(null, data.xLabel, names.get(at) ?? format(at, data.xUnit)), ...rows);
    tip.hidden = false;
    const left = box.left - figure.getBoundingClientRect().left + ax / scale, isRight = ax > 400;
    tip.style.left = isRight ? "auto" : left + 14 + "px";
    tip.style.right = isRight ? figure.clientWidth - left + 14 + "px" : "auto";
    tip.style.top = figure.querySelector("figcaption").offsetHeight + 24 + "px";
  };
}
)js";

}  // namespace

std::string HtmlPage(const std::string& title, const std::string& content) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; script-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{0}</title>\n<style>{1}</style></head>\n<body><main>\n"
      "<header class=\"top\"><h1>{0}</h1><button type=\"button\" id=\"theme\">dark / light"
      "</button></header>\n{2}</main>\n<script>{3}</script>\n</body></html>\n",
      EscapeHtml(title), kStyle, content, kScript);
}

std::string HtmlCard(const std::string& value, const std::string& name) {
  return fmt::format("<div class=\"card\"><b>{}</b><span>{}</span></div>", EscapeHtml(value),
                     EscapeHtml(name));
}

}  // namespace planish
