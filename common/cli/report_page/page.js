"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");
const STAGES = { train: "#8a94a0", val: "#2f80ed", test: "#e2574c" };
const COLORS = ["#2f80ed", "#e2574c", "#27a567", "#b37feb", "#e69f00", "#12a5b8", "#d0569b", "#7f8c2d"];
const redraws = [];

/* Makes an element; whatever comes from a run goes in as text, never as HTML. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function section(title, ...children) {
  main.append(element("h2", {}, title), ...children);
}

function text(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/* Draws a chart, in the colours of the page; drawn anew when those change. `figure` gives traces and layout. */
function chart(parent, figure, isWide = false) {
  const place = element("div", { class: isWide ? "chart wide" : "chart" });
  parent.append(place);
  const draw = () => {
    const { traces, layout, isHidden } = figure();
    place.hidden = Boolean(isHidden);
    if (isHidden) return;
    const axis = { gridcolor: color("--line"), zerolinecolor: color("--line"), automargin: true };
    const whole = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: color("--text"), size: 12 },
      margin: { l: 56, r: 18, t: 60, b: 52 },
      legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0, xanchor: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--dim"), activecolor: color("--accent") },
      hoverlabel: { bgcolor: color("--card"), font: { color: color("--text") } },
      ...layout,
    };
    for (const name of ["xaxis", "yaxis"]) whole[name] = { ...axis, ...(layout[name] || {}) };
    whole.title = { text: layout.title || "", x: 0.015, xanchor: "left", y: 0.97, yanchor: "top", font: { size: 14 } };
    const tools = { displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
    Plotly.react(place, traces, whole, tools);
  };
  redraws.push(draw);
  draw();
  return draw;
}

/* Exponential moving average, corrected for its start (Kingma & Ba 2015, section 3). */
function smoothed(values, weight) {
  let average = 0, total = 0;
  return values.map((value) => {
    if (value === null) return null;
    average = weight * average + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return average / total;
  });
}

function curveTraces(name, curve, ink, weight, showLegend = true) {
  const isPoint = curve.y.length === 1;
  const shared = { x: curve.x, name, legendgroup: name, hovertemplate: `%{x}: %{y:.5g}<extra>${""}</extra>` };
  const mode = isPoint ? "markers" : curve.y.length < 30 ? "lines+markers" : "lines";
  const style = { line: { color: ink, width: 2 }, marker: { color: ink, size: isPoint ? 11 : 5, symbol: isPoint ? "star" : "circle" } };
  if (!weight || isPoint) return [{ ...shared, y: curve.y, mode, ...style, showlegend: showLegend }];
  const faint = { ...shared, y: curve.y, mode: "lines", opacity: 0.25, line: { color: ink, width: 1 }, showlegend: false, hoverinfo: "skip" };
  return [faint, { ...shared, y: smoothed(curve.y, weight), mode: "lines", line: style.line, showlegend: showLegend }];
}

function slider(label, action) {
  const input = element("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, "aria-label": label });
  const shown = element("span", {}, "0");
  input.addEventListener("input", () => { shown.textContent = input.value; action(Number(input.value)); });
  return element("label", {}, `${label} `, input, " ", shown);
}

function chooser(label, options, action) {
  const select = element("select", {}, ...options.map((name) => element("option", { value: name }, name)));
  select.addEventListener("change", () => action(select.value));
  return element("label", {}, `${label} `, select);
}

function factsTable(facts) {
  const rows = Object.entries(facts).map(([name, value]) => element("tr", {}, element("td", {}, name), element("td", {}, text(value))));
  return element("div", { class: "scroll" }, element("table", { class: "facts" }, element("tbody", {}, ...rows)));
}

/* A table that is sorted by a click on a column's head; numbers by size, and what is missing last. */
function sortableTable(columns, rows) {
  const body = element("tbody");
  const isNumber = columns.map((_, index) => rows.some((row) => typeof row[index] === "number"));
  const fill = (sorted) => body.replaceChildren(...sorted.map((row) => element("tr", {},
    ...row.map((value, index) => element("td", isNumber[index] ? { class: "number" } : {}, text(value))))));
  const heads = columns.map((name, index) => {
    const head = element("th", isNumber[index] ? { class: "number", tabindex: 0 } : { tabindex: 0 }, name);
    const sort = () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const rank = (value) => value === null || value === undefined;
      fill([...rows].sort((a, b) => {
        const [one, two] = [a[index], b[index]];
        if (rank(one) || rank(two)) return rank(one) - rank(two);
        return sign * (typeof one === "number" && typeof two === "number" ? one - two : text(one).localeCompare(text(two)));
      }));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
    return head;
  });
  fill(rows);
  return element("div", { class: "scroll" }, element("table", { class: "sortable" }, element("thead", {}, element("tr", {}, ...heads)), body));
}

function header() {
  const status = element("span", { class: `status ${data.status}` }, data.status_text);
  main.append(element("h1", {}, data.title), element("div", { class: "dim" }, status, ` · ${data.subtitle}`));
  if (data.error) main.append(element("p", { class: "error" }, data.error));
  const tiles = Object.entries(data.results).map(([name, value]) => element("div", { class: "tile" }, element("span", { class: "dim" }, name), element("b", {}, text(value))));
  if (tiles.length && data.results_of) main.append(element("div", { class: "dim gap" }, `Results of ${data.results_of}`));
  if (tiles.length) main.append(element("div", { class: "tiles" }, ...tiles));
}

function curves() {
  const byName = new Map();
  for (const [metric, curve] of Object.entries(data.curves)) {
    const [first, ...rest] = metric.split("/");
    const [name, line] = first in STAGES && rest.length ? [rest.join("/"), first] : [first, rest.join("/") || first];
    if (!byName.has(name)) byName.set(name, []);
    byName.get(name).push({ line, curve });
  }
  if (!byName.size) return;
  let weight = 0;
  const own = [];
  const grid = element("div", { class: "charts" });
  const controls = element("div", { class: "controls" }, slider("Smoothing", (value) => { weight = value; own.forEach((draw) => draw()); }));
  section("Curves", controls, grid);
  for (const [name, members] of byName) {
    own.push(chart(grid, () => ({
      traces: members.flatMap(({ line, curve }, index) => curveTraces(line, curve, STAGES[line] || COLORS[index % COLORS.length], weight)),
      layout: { title: name, xaxis: { title: { text: "step", standoff: 6 } }, showlegend: members.length > 1 },
    })));
  }
}

function pictures() {
  if (!data.pictures.length) return;
  const figures = data.pictures.map(({ name, source }) => element("figure", {}, element("img", { src: source, alt: name, loading: "lazy" }), element("figcaption", {}, name)));
  section("Pictures", element("div", { class: "pictures" }, ...figures));
}

/* Where a value lies on its axis, from 0 to 1: by the logarithm where values span more than a factor of 20. */
function scaleOf(values) {
  const present = values.filter((value) => value !== null && value !== undefined);
  if (present.length && present.every((value) => typeof value === "number")) {
    const low = Math.min(...present), high = Math.max(...present);
    const isLog = low > 0 && high / low > 20;
    const map = isLog ? Math.log10 : (value) => value;
    const span = map(high) - map(low);
    const distinct = [...new Set(present)].sort((a, b) => a - b);
    const place = (value) => (span ? (map(value) - map(low)) / span : 0.5);
    const apart = distinct.filter((value, index) => index === distinct.length - 1 || (place(value) < 0.92 && (index === 0 || place(value) - place(distinct[index - 1]) > 0.07)));
    const ticks = distinct.length <= 6 ? apart : [low, isLog ? Math.sqrt(low * high) : (low + high) / 2, high];
    return { place, ticks, isLog, isNumber: true };
  }
  const names = [...new Set(present.map(text))].sort();
  return { place: (value) => (names.length > 1 ? names.indexOf(text(value)) / (names.length - 1) : 0.5), ticks: names, isLog: false, isNumber: false };
}

/* From blue through grey to red; ends that people with colour blindness can tell apart. */
function heat(part) {
  const [from, middle, to] = [[47, 128, 237], [150, 150, 150], [226, 87, 76]];
  const mix = (a, b, t) => a.map((value, index) => Math.round(value + (b[index] - value) * t));
  return `rgb(${(part < 0.5 ? mix(from, middle, 2 * part) : mix(middle, to, 2 * part - 1)).join(",")})`;
}

function parallelCoordinates(points, keys, metric) {
  const axes = [...keys.map((key) => ({ name: key, of: (point) => point.overrides[key] })), { name: metric, of: (point) => point.metrics[metric] }];
  const scales = axes.map((axis) => scaleOf(points.map(axis.of)));
  const shown = points.filter((point) => typeof point.metrics[metric] === "number");
  const traces = shown.map((point) => ({
    x: axes.map((_, index) => index),
    y: axes.map((axis, index) => (axis.of(point) === undefined || axis.of(point) === null ? null : scales[index].place(axis.of(point)))),
    text: axes.map((axis) => `${axis.name}: ${text(axis.of(point))}`),
    mode: "lines+markers", name: point.title, hovertemplate: "%{text}<extra>%{fullData.name}</extra>",
    line: { color: heat(scales[axes.length - 1].place(point.metrics[metric])), width: 2, shape: "spline", smoothing: 0.6 },
    marker: { size: 5 },
  }));
  const annotations = scales.flatMap((scale, index) => scale.ticks.map((tick) => ({
    x: index, y: scale.place(tick), text: text(tick), showarrow: false, xanchor: index === axes.length - 1 ? "right" : "left", xshift: index === axes.length - 1 ? -8 : 8,
    font: { size: 11, color: color("--dim") }, bgcolor: color("--back"), opacity: 0.85,
  })));
  const shapes = axes.map((_, index) => ({ type: "line", x0: index, x1: index, y0: 0, y1: 1, line: { color: color("--line"), width: 1 } }));
  return {
    traces,
    layout: {
      title: "Parallel coordinates", showlegend: false, annotations, shapes, hovermode: "closest",
      xaxis: { tickvals: axes.map((_, index) => index), ticktext: axes.map((axis) => data.short[axis.name] || axis.name), showgrid: false, zeroline: false, range: [-0.35, axes.length - 0.65] },
      yaxis: { visible: false, range: [-0.08, 1.08] },
    },
  };
}

function resultOver(points, key, metric) {
  const shown = points.filter((point) => typeof point.metrics[metric] === "number" && point.overrides[key] !== undefined && point.overrides[key] !== null);
  const scale = scaleOf(shown.map((point) => point.overrides[key]));
  return {
    traces: [{
      x: shown.map((point) => (scale.isNumber ? point.overrides[key] : text(point.overrides[key]))),
      y: shown.map((point) => point.metrics[metric]),
      text: shown.map((point) => point.title), mode: "markers", hovertemplate: "%{text}<br>%{x}: %{y:.5g}<extra></extra>",
      marker: { color: color("--accent"), size: 9, opacity: 0.75 },
    }],
    layout: {
      title: `${metric} over ${data.short[key] || key}`,
      xaxis: { type: scale.isNumber ? (scale.isLog ? "log" : "linear") : "category", tickvals: scale.isNumber ? scale.ticks : undefined, ticktext: scale.isNumber ? scale.ticks.map(text) : undefined },
    },
  };
}

function sweep() {
  if (!data.points) return;
  const keys = data.swept, metrics = data.metric_names;
  const columns = ["point", "status", ...keys.map((key) => data.short[key] || key), ...metrics];
  section("Points", sortableTable(columns, data.points.map((point) => [
    point.title, point.status, ...keys.map((key) => point.overrides[key]), ...metrics.map((name) => point.metrics[name]),
  ])));
  if (!metrics.length) return;
  let metric = metrics[0], weight = 0;
  const own = [];
  const again = () => own.forEach((draw) => draw());
  const grid = element("div", { class: "charts" });
  const controls = element("div", { class: "controls" },
    chooser("Metric", metrics, (name) => { metric = name; again(); }),
    slider("Smoothing", (value) => { weight = value; again(); }));
  section("Results over parameters", controls, grid);
  if (keys.length) own.push(chart(grid, () => parallelCoordinates(data.points, keys, metric), true));
  for (const key of keys) own.push(chart(grid, () => resultOver(data.points, key, metric)));
  own.push(chart(grid, () => ({
    isHidden: !data.points.some((point) => point.curves[metric] && point.curves[metric].y.length > 1),
    traces: data.points.flatMap((point, index) => (point.curves[metric] ? curveTraces(point.title, point.curves[metric], COLORS[index % COLORS.length], weight) : [])),
    layout: { title: `${metric} of all points`, xaxis: { title: { text: "step", standoff: 6 } }, showlegend: false, hovermode: "closest" },
  }), true));
}

function provenance() {
  section("Where it came from", factsTable(data.facts));
  if (data.changes.length) section("What it changes of the task", sortableTable(["key", "default", "here"], data.changes));
  for (const [name, content] of Object.entries(data.texts)) {
    main.append(element("details", {}, element("summary", {}, name), element("pre", {}, content)));
  }
}

document.title = data.title;
header();
curves();
sweep();
pictures();
provenance();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraws.forEach((draw) => draw()));
