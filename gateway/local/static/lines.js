// 线路: the traffic of each line as a picture: a row per device, a box per request.

import {live, ask} from './live.js';
import {html, nothing, placeOf, repeat, t, word} from './show.js';

const FETCH_MS = 2000;
const NAMES = 120, ROW = 26;        // pixels: the names, a row
const wide = () => Math.max(320, Math.min(1600, innerWidth - 32));
const FRAMES = 20;
const SHADES = [1, 0.65, 0.85, 0.5];          // grey per device: colours are for faults
let show = () => {};
let line = null, seconds = 10, told = null, timer = null;

export function enter(change) {
  show = change;
  clearInterval(timer);
  timer = setInterval(fetchFrames, FETCH_MS);
  line ??= Object.keys(live.state?.lines ?? {})[0] ?? null;
  fetchFrames();
}

export function leave() { clearInterval(timer); }

async function fetchFrames() {
  if (live.lost || !line) return;
  const wanted = line;
  const answer = await ask(`/frames?line=${encodeURIComponent(wanted)}&seconds=${seconds}`);
  if (wanted !== line || !answer.exchanges) return;
  told = answer;
  show();
}

const pick = change => { change(); told = null; fetchFrames(); show(); };
const ms = s => s === undefined || s === null ? '—' : `${(s * 1000).toFixed(s < 0.01 ? 1 : 0)} ms`;
const nameOf = one => one.device ?? `${t('device.unit')} ${one.unit}`;

function picture() {
  const names = [...new Set([...Object.keys(told.devices), ...told.exchanges.map(nameOf)])];
  const width = wide(), begins = told.now - seconds, x = at => NAMES + Math.max(0, (at - begins) / seconds * (width - NAMES));
  return html`<svg class="bus" viewBox="0 0 ${width} ${names.length * ROW}" role="img" aria-label=${t('line.picture')}>
    ${names.map((name, row) => svgRow(name, row, x, width))}</svg>`;
}

const SVG = 'http://www.w3.org/2000/svg';
function svgRow(name, row, x, width) {
  const group = document.createElementNS(SVG, 'g'), put = (kind, attributes, text) => {
    const one = document.createElementNS(SVG, kind);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (text) one.textContent = text;
    group.append(one);
  };
  put('line', {x1: 0, x2: width, y1: (row + 1) * ROW, y2: (row + 1) * ROW, class: 'rule'});
  for (const one of told.exchanges.filter(other => nameOf(other) === name)) {
    const length = Math.max(1.5, x(one.at + (one.took ?? 0.05)) - x(one.at));
    put('rect', {x: x(one.at), y: row * ROW + 4, width: length, height: ROW - 8, class: one.verdict, 'fill-opacity': SHADES[row % SHADES.length]});
    if (one.verdict === 'nothing' || one.verdict === 'garbled') put('text', {x: x(one.at), y: row * ROW + ROW - 8, class: 'cross'}, '✕');
  }
  put('text', {x: 6, y: row * ROW + 17, class: 'name'}, name);
  return group;
}

function devices() {
  const all = Object.entries(told.devices), heads = ['p50', 'p95', ...['requests', 'timeouts', 'misses', 'share'].map(key => t(`line.${key}`))];
  const share = one => one.share === undefined || one.share === null ? '—' : `${Math.round(one.share * 100)} %`;
  const cells = one => [ms(one.p50), ms(one.p95), one.requests ?? '—', one.timeouts ?? '—', one.misses ?? '—', share(one)];
  const bad = (one, at) => (at === 3 && one.timeouts) || (at === 4 && one.misses) ? 'bad' : '';
  return html`<div class="wide" tabindex="0"><table class="stack"><thead><tr><th>${t('line.device')}</th>${heads.map(head => html`<th class="number">${head}</th>`)}</tr></thead>
    <tbody>${repeat(all, ([id]) => id, ([id, one]) => html`<tr><td class="head">${placeOf(id)} <small>${id}</small></td>${
      cells(one).map((text, at) => html`<td class="number ${bad(one, at)}" data-name=${heads[at]}>${text}</td>`)}</tr>`)}</tbody></table></div>`;
}

// A request begins with its function, an exception ends with its name; the rest are addresses and numbers.
const asked = one => one.asked.replace(/^(?:read|write) [a-z]+/, name => word('frame', name));

function said(one) {
  if (one.verdict === 'answered') return word('frame', one.said);
  const [, code, name] = /^exception (\d+), (.+)$/.exec(one.said ?? '') ?? [];
  return `✕ ${word('verdict', one.verdict)}${name ? ` ${code}: ${word('exception', name)}` : ''}`;
}

function frames() {
  return html`<h2>${t('line.frames')}</h2><div class="wide" tabindex="0"><table class="stack"><thead><tr><th class="number">${t('line.age')}</th><th>${t('line.device')}</th><th>${t('line.asked')}</th><th>${t('line.said')}</th><th class="number">${t('line.took')}</th></tr></thead>
    <tbody>${told.exchanges.slice(-FRAMES).reverse().map(one => html`<tr><td class="number">${(told.now - one.at).toFixed(1)} s</td><td>${nameOf(one)}</td><td>${asked(one)}</td>
      <td class=${one.verdict === 'answered' ? '' : 'bad'}>${said(one)}<div class="hex">${one.hex}</div></td><td class="number">${ms(one.took)}</td></tr>`)}</tbody></table></div>`;
}

export function draw() {
  const all = Object.entries(live.state.lines);
  return html`<div class="bar" role="group" aria-label=${t('nav.lines')}>${all.map(([id, one]) => html`<button class=${id === line ? 'strong' : ''} aria-pressed=${id === line}
      @click=${() => pick(() => { line = id; })}>${one.up ? '●' : '✕'} ${id} <small>${word('line', one.up ? 'up' : 'down')} · ${t('line.busy')} ${Math.round((one.busy ?? 0) * 100)} %</small></button>`)}</div>
    <div class="bar" role="group" aria-label=${t('passages.time')}>${[10, 60].map(s => html`<button class=${s === seconds ? 'strong' : ''} aria-pressed=${s === seconds} @click=${() => pick(() => { seconds = s; })}>${t('line.seconds', {seconds: s})}</button>`)}</div>
    ${told ? html`<section>${picture()}${devices()}${frames()}</section>` : html`<p class="none">${t('loading')}</p>`}`;
}
