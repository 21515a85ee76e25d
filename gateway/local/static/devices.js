// 设备: devices by zone, bad ones first; a press on a point plots its kept values.

import {live, ask, now} from './live.js';
import {button, failure, html, nothing, repeat, span, stamp, t, unread, word, zoneName} from './show.js';

const SPARK = 60;                  // values of a sparkline that this page has received
let show = () => {};
const open = new Set();
const tables = new Map();          // device -> its register table, once opened
const sparks = new Map();          // DEVICE.POINT -> [values]
const host = document.createElement('div');
let plot = null;                   // {point, chart, text}

export function enter(change) { show = change; }
export function leave() { closePlot(); }
export function forget() { tables.clear(); }

const isGood = device => device.answering !== false && Object.values(device.points).every(one => one.quality === 'GOOD');
const bad = (id, device) => device.answering === false ? 0 : isGood(device) ? 2 : 1;

// ---- one point ----

const plain = value => typeof value === 'number' && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : String(value);
// A call point is shown as pressed or normal, because yes and no would be unclear.
const truth = (kind, value) => kind !== 'call-point' ? t(`text.${value}`) : t(value ? 'text.alarm' : 'text.normal');
const valueText = (one, kind) => one.quality === 'BAD' || one.value === undefined ? '—'
  : one.text !== undefined ? word('text', one.text) : typeof one.value === 'boolean' ? truth(kind, one.value)
    : `${plain(one.value)}${one.unit ? ` ${one.unit}` : ''}`;

function remember(key, one) {
  const kept = sparks.get(key) ?? [];
  const value = one.quality === 'BAD' ? null : Number(one.value);
  if (!kept.length || kept.at(-1).since !== one.since || kept.at(-1).value !== value) kept.push({since: one.since, value});
  if (kept.length > SPARK) kept.shift();
  sparks.set(key, kept);
  return kept;
}

function spark(kept) {
  const values = kept.map(one => one.value), known = values.filter(Number.isFinite);
  if (known.length < 2) return nothing;
  const [low, high] = [Math.min(...known), Math.max(...known)], step = 100 / (values.length - 1);
  let pen = 'M';
  const path = values.map((value, at) => {
    if (!Number.isFinite(value)) { pen = 'M'; return ''; }
    const to = `${pen}${(at * step).toFixed(1)} ${(22 - 20 * (value - low) / (high - low || 1)).toFixed(1)}`;
    pen = 'L';
    return to;
  }).join('');
  return html`<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true"><path d=${path}></path></svg>`;
}

function row(id, name, one) {
  const key = `${id}.${name}`;
  return html`<tr data-point=${key}><td>${live.me.name ? html`<button class="plain" @click=${() => draws(key)}
      aria-expanded=${plot?.point === key}>${name}</button>` : name}</td>
    <td class="number">${valueText(one, live.state.devices[id].kind)}</td>
    <td class=${one.quality}>${one.quality === 'GOOD' ? '●' : one.quality === 'BAD' ? '✕' : '?'} ${t(`quality.${one.quality}`)}${
      one.reason ? ` · ${word('bad', one.reason)}` : ''}</td>
    <td title=${stamp(one.since)} data-name=${t('device.age')}>${span(now() - Date.parse(one.since))}</td><td>${spark(remember(key, one))}</td></tr>
    ${plot?.point === key ? html`<tr><td colspan="5"><div>${plot.text}</div>${host}</td></tr>` : nothing}`;
}

// ---- the plot ----

function closePlot() {
  plot?.chart?.destroy();
  plot = null;
  host.replaceChildren();
}

async function draws(point) {
  const again = plot?.point === point;
  closePlot();
  if (again) return show();
  const mine = plot = {point, text: t('loading')};
  show();
  const [told, {default: UPlot}] = await Promise.all([
    ask(`/history?point=${encodeURIComponent(point)}&hours=24`), import('./vendor/uplot/uPlot.esm.js').catch(() => ({})), style()]);
  if (plot !== mine) return;
  const problem = !told.times ? unread(told) : UPlot ? '' : unread();
  mine.text = problem ? failure(problem, () => { closePlot(); draws(point); }) : told.times.length ? t('device.plot') : t('device.no-values');
  show();
  if (problem || !told.times.length) return;
  const ink = getComputedStyle(document.body).color;
  const axis = {stroke: ink, grid: {stroke: ink, width: 0.2}, ticks: {stroke: ink, width: 0.5}};
  const zone = live.state.site.timezone;
  mine.chart = new UPlot({
    width: Math.max(240, Math.min(900, host.parentElement.clientWidth - 24)), height: 220,
    tzDate: at => UPlot.tzDate(new Date(at * 1000), zone),
    series: [{}, {stroke: ink, width: 1.5, label: point, paths: UPlot.paths.stepped({align: 1})}],
    axes: [axis, {...axis, label: told.unit ?? ''}],
  }, [told.times, told.values.map(value => value === null ? null : Number(value))], host);
}

let styled = null;
const style = () => styled ??= new Promise(done => {
  const link = document.createElement('link');
  Object.assign(link, {rel: 'stylesheet', href: new URL('./vendor/uplot/uPlot.min.css', import.meta.url).href, onload: done, onerror: done});
  document.head.append(link);
});

// ---- one device ----

function toggle(event, id) {
  if (event.target.open) open.add(id); else open.delete(id);
  if (event.target.open && live.me.name && !tables.has(id)) fetchTable(id);
  show();
}

async function fetchTable(id) {
  const told = await ask(`/devices/${encodeURIComponent(id)}`);
  if (told.points) tables.set(id, told);
  show();
}

// The profile, and whether the register table was verified with the device.
function table(id) {
  const one = tables.get(id);
  if (!one || !live.me.name) return nothing;
  const unverified = one.verified !== true;
  return html`<details class="choices table"><summary>${unverified ? '? ' : '✓ '}${
      t(unverified ? 'device.table-unverified' : 'device.table-verified')}</summary>
    <p class="facts">${one.profile ? html`<span>${t('device.profile')} ${one.profile}</span>` : nothing}${one.source ? html`<span>${t('device.source')}: ${one.source}</span>` : nothing}</p>
    <table><thead><tr><th>${t('device.point')}</th><th>${t('device.address')}</th></tr></thead>
    <tbody>${Object.entries(one.points).map(([name, at]) => html`<tr><td>${name}</td><td>${at}</td></tr>`)}</tbody></table></details>`;
}

function brief(device) {
  const points = Object.values(device.points), first = points[0];
  const wrong = points.filter(one => one.quality !== 'GOOD').length;
  if (device.answering === false) return html`<b class="bad">✕ ${t('device.silent')}</b>`;
  if (wrong) return html`<b class="bad">✕ ${t('quality.BAD')} ${wrong}/${points.length}</b>`;
  return points.length === 1 ? html`<span>● ${valueText(first, device.kind)}</span>` : html`<span>● ${t('device.all-good')}</span>`;
}

function card([id, device]) {
  const off = live.state.alarms[`${id}/disabled`] !== undefined;
  return html`<details class="device" data-device=${id} ?open=${open.has(id)} @toggle=${event => toggle(event, id)}>
    <summary><b>${device.place ?? id}</b><small>${word('devices.kind', device.kind)} · ${id}</small>${brief(device)}</summary>
    ${open.has(id) ? html`<div class="inside"><p class="facts"><span>${device.title ?? ''}</span><span>${t('device.line')} ${device.line}</span></p>
      <div class="wide" tabindex="0"><table class="stack"><thead><tr><th>${t('device.point')}</th><th class="number">${t('device.value')}</th><th>${t('device.state')}</th><th>${t('device.age')}</th><th></th></tr></thead>
      <tbody>${Object.entries(device.points).map(([name, one]) => row(id, name, one))}</tbody></table></div>
      <div class="actions">${button(t('device.read'), 'read', {device: id})}
        ${off ? button(t('device.enable'), 'device.enable', {device: id})
          : button(t('device.disable'), 'device.disable', {device: id, for: '1h', reason: t('device.disable-reason')}, {hold: true})}</div>${table(id)}</div>` : nothing}
  </details>`;
}

function zone([id, devices]) {
  const name = id ? zoneName(id) : t('device.no-zone');
  devices.sort(([a, one], [b, other]) => bad(a, one) - bad(b, other));
  return html`<section aria-label=${name}><h2>${name}</h2>
    ${id && live.me.commands?.['zone.test'] ? html`<div class="bar">${button(t('zone.test'), 'zone.test', {zone: id, for: '30m'})}
      ${button(t('zone.test-end'), 'zone.test', {zone: id, for: '0s'})}</div>` : nothing}
    ${repeat(devices, ([one]) => one, card)}</section>`;
}

export function draw() {
  const zones = new Map(Object.keys(live.state.zones).map(id => [id, []]));
  for (const one of Object.entries(live.state.devices)) {
    const id = one[1].zone ?? '';
    if (!zones.has(id)) zones.set(id, []);
    zones.get(id).push(one);
  }
  const worst = devices => Math.min(...devices.map(([id, device]) => bad(id, device)));
  const sorted = [...zones].filter(([, devices]) => devices.length).sort(([, a], [, b]) => worst(a) - worst(b));
  return repeat(sorted, ([id]) => id, zone);
}
