// Shared by all screens: words, times, and command buttons.

import {html, nothing, render} from './vendor/lit-html/lit-html.js';
import {repeat} from './vendor/lit-html/directives/repeat.js';
import {live, now, command, may} from './live.js';

export {html, nothing, render, repeat};

const HOLD_MS = 1500;
const DONE_MS = 4000, FAILED_MS = 12_000;    // how long the result of a press is shown
const AFTER_MS = 700;            // no other press is taken for this time, because the second tap of a double tap is meant for the first button
const MOVED_MS = 500;            // a button takes no press this soon after it has appeared or moved, because the finger was on its way already
const SHIFT = 4;                 // pixels that do not count as a move
const HINT_MS = 2500;

// ---- words ----

let words = {};
export let language = 'zh';

export async function speak(wanted) {
  const response = await fetch(new URL(`./words.${wanted}.json`, import.meta.url));
  words = await response.json();
  language = wanted;
  document.documentElement.lang = wanted === 'zh' ? 'zh-CN' : 'en';
  document.title = `${t('title')} - site-gateway`;
}

export const has = key => key in words;

export function t(key, values) {
  const text = words[key] ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '') : text;
}

// The word for a value of the contract; a value without a word is shown unchanged.
export const word = (family, value) => has(`${family}.${value}`) ? t(`${family}.${value}`) : String(value ?? '');

// All of a family: [[VALUE, word]].
export const family = name => Object.keys(words).filter(key => key.startsWith(`${name}.`)).map(key => [key.slice(name.length + 1), words[key]]);

// ---- times ----

const formats = new Map();
function format(options) {
  const zone = live.state?.site?.timezone, key = JSON.stringify([options, zone]);
  if (!formats.has(key))
    formats.set(key, new Intl.DateTimeFormat('sv-SE', {...options, timeZone: zone, hourCycle: 'h23'}));
  return formats.get(key);
}
const CLOCK = {hour: '2-digit', minute: '2-digit', second: '2-digit'};
const DAY = {year: 'numeric', month: '2-digit', day: '2-digit'};
const asMs = time => typeof time === 'number' ? time : Date.parse(time);

export const clock = time => format(CLOCK).format(asMs(time));
export const stamp = time => format({...DAY, ...CLOCK}).format(asMs(time));
// The time of day; with its date if that is not today.
export const moment = time =>
  format(DAY).format(asMs(time)) === format(DAY).format(now()) ? clock(time) : stamp(time).slice(5);

export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000)), two = n => String(n).padStart(2, '0');
  if (s >= 86_400) return `${Math.floor(s / 86_400)} d ${Math.floor(s % 86_400 / 3600)} h`;
  return s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`
    : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

export const left = time => asMs(time) - now();

// ---- names ----

// The entry of an id in a table of the state. Ids in the log come from outside: `constructor` must not match.
const known = (table, id) => Object.hasOwn(live.state[table] ?? {}, id) ? live.state[table][id] : undefined;

export const zoneName = zone => known('zones', zone)?.name ?? (zone === 'site' ? t('device.no-zone') : zone);
export const gateName = gate => known('gates', gate)?.name ?? gate;
export const placeOf = device => known('devices', device)?.place ?? device;
export const titleOf = round => known('rounds', round)?.title ?? round;
export const placeName = place => known('places', place)?.name ?? place;

// The name of what an alarm belongs to: the beginning of SUBJECT. Alarms of the gateway itself name a part of it.
export function ownerOf(subject) {
  const [owner] = subject.split('/');
  if (known('devices', owner)) return placeOf(owner);
  if (known('gates', owner)) return gateName(owner);
  if (known('lines', owner)) return `${t('own.line')} ${owner}`;
  if (known('cameras', owner)) return `${t('own.camera')} ${owner}`;
  return has(`own.${owner}`) ? t(`own.${owner}`) : word('stream', owner);
}

// The text of a round's item: KIND:TARGET, for a point DEVICE.POINT.
export function itemName(id) {
  const [, kind, target] = /^([^:]*):(.*?)(?:#\d+)?$/s.exec(id) ?? ['', '', id];
  if (kind === 'person') return target;
  const [device, point] = target.split('.');
  const where = kind === 'no_alarm' || kind === 'tested' ? zoneName(target) : placeOf(device);
  return `${where} · ${word('item', kind)}${point ? ` ${point}` : ''}`;
}

// The reason of an item or finding begins with one of the contract's words.
export function reason(text) {
  const [head, ...more] = String(text).split(':');
  return [word('found', head), more.join(':').trim()].filter(Boolean).join(': ');
}

// Zones under test: [[ZONE, when its test ends]]. `site`: devices without a zone.
export const zonesInTest = () => Object.entries({site: live.state.site, ...live.state.zones})
  .filter(([, zone]) => zone.test_until).map(([id, zone]) => [id, zone.test_until]);

// Each alarm is counted once, under the first of these that applies.
export const COUNTS = ['fire', 'fault', 'disabled', 'supervisory', 'other', 'test'];
export const FAULTS = new Set(['fault', 'wire', 'battery', 'dirty', 'gateway', 'power', 'tamper']);

export function countOf(alarm) {
  if (alarm.test) return 'test';
  if (alarm.kind === 'fire') return 'fire';
  if (alarm.disabled || alarm.kind === 'disabled') return 'disabled';
  if (alarm.kind === 'supervisory') return 'supervisory';
  return FAULTS.has(alarm.kind) ? 'fault' : 'other';
}

// Why a gate is held, and how each cause ends.
export function causes(gate) {
  return gate.causes.map(cause => {
    const [kind, name = ''] = cause.split(/[:/]/), known = has(`cause.${kind}`) ? kind : 'other';
    return html`<li>${t(`cause.${known}`, {name: name || cause})}<small>${t('gate.ends')}: ${t(`ends.${known}`)}</small></li>`;
  });
}

// The time left until `time`; `late`: the text after it has passed.
export function dueIn(time, key, late) {
  const ms = left(time);
  return html`<span class="due ${ms < 0 ? 'late' : ''}">${ms >= 0 ? t(key, {time: span(ms)})
    : late ? t(late, {time: span(-ms)}) : `${t(key, {time: '0:00'})} · ${t('alarm.overdue')}`}</span>`;
}

// ---- presses ----

let tell = () => {};
const presses = new Map();       // key -> {phase: 'waiting' | 'done' | 'failed', code, until}
let held = null;                 // {key, timer}
let closedUntil = 0;             // no press is taken before this time
const places = new WeakMap();    // button -> {left, top: on the document, readyAt}
let settling = null, hinting = null;

// True while a press is under way or a button is held.
export const pressing = () => held !== null || [...presses.values()].some(press => press.phase === 'waiting');

export function onPress(change) {
  tell = change;
  setInterval(() => {
    for (const [key, press] of presses) if (press.until < performance.now()) { presses.delete(key); tell(); }
  }, 500);
  for (const kind of ['load', 'toggle', 'resize']) addEventListener(kind, () => settle(), true);    // events that move buttons without a redraw
}

// Note the place of every button; `scrolled`: how far the document was scrolled before the redraw.
export function settle(scrolled = scrollY) {
  const at = performance.now();
  let last = closedUntil;
  for (const one of document.querySelectorAll('[data-cmd]')) {
    const {left, top} = one.getBoundingClientRect(), before = places.get(one);
    const moved = !before || Math.abs(left - before.left) > SHIFT || Math.abs(top + scrolled - before.top) > SHIFT;
    const readyAt = moved ? at + MOVED_MS : before.readyAt;
    places.set(one, {left, top: top + scrollY, readyAt});
    one.setAttribute('aria-disabled', at < Math.max(readyAt, closedUntil));
    last = Math.max(last, readyAt);
  }
  clearTimeout(settling);
  if (last > at) settling = setTimeout(() => settle(), last - at + 1);
}

// A press was sent: the next one is taken a little later.
export function pressed() { closedUntil = performance.now() + AFTER_MS; }

// True if the press can have been meant for this button.
function meant(one) {
  const at = performance.now();
  if (at < closedUntil) return false;
  if (at >= (places.get(one)?.readyAt ?? 0)) return true;
  clearTimeout(hinting);
  hinting = setTimeout(() => { hinting = null; tell(); }, HINT_MS);
  tell();
  return false;
}

export const hint = () => hinting === null ? nothing : html`<p class="hint" role="status">${t('press.moved')}</p>`;

export const errorText = told => {
  const code = told.error?.code ?? 'other';
  const said = has(`error.${code}`) ? t(`error.${code}`, {seconds: told.wait ?? ''}) : t('error.other');
  const more = told.error?.message, hint = `hint.${more?.split(':')[0]}`;
  if (has(hint)) return t(hint);
  return more && ['interlocked', 'bad-args', 'unknown', 'refused-by-device'].includes(code) ? `${said} (${more})` : said;
};

// Shows why something could not be read, with a button to read it again.
export const unread = told => told?.error && told.error.code !== 'no-answer' ? errorText(told) : t('error.unread');
export const failure = (text, again) => html`<p class="problem" role="alert">⚠ ${text} <button class="plain again" @click=${again}>${t('again')}</button></p>`;

async function start(key, cmd, args, after) {
  if (['waiting', 'done'].includes(presses.get(key)?.phase) || !may(cmd)) return;
  pressed();
  presses.set(key, {phase: 'waiting', until: Infinity});
  tell();
  const told = await command(cmd, args);
  presses.set(key, told.ok ? {phase: 'done', until: performance.now() + DONE_MS}
    : {phase: 'failed', text: errorText(told), until: performance.now() + FAILED_MS});
  tell();
  after?.(told);
}

function beginHold(event, key, run) {
  if (event.type === 'keydown') {
    if (event.repeat || (event.key !== 'Enter' && event.key !== ' ')) return;
    event.preventDefault();
  }
  const element = event.currentTarget;
  endHold();
  if (!meant(element)) return;
  held = {key, timer: setTimeout(() => {
    held = null;
    if (element.isConnected && !element.matches(':disabled')) run();
    tell();
  }, HOLD_MS)};
  tell();
}

function endHold() {
  if (!held) return;
  clearTimeout(held.timer);
  held = null;
  tell();
}

// A button for one command. Absent if the role may not; disabled while the link is lost.
// `hold`: must be held for 1.5 s; `kind`: a CSS class; `off`: an input is missing; `after`: called with the answer.
export function button(label, cmd, args, {hold = false, kind = '', off = false, after, key = cmd + JSON.stringify(args)} = {}) {
  if (!live.me.commands?.[cmd]) return nothing;
  const press = presses.get(key), phase = press?.phase ?? '';
  const dead = live.lost || off || phase === 'waiting' || phase === 'done';
  const run = () => start(key, cmd, args, after);
  const is = held?.key === key ? 'holding' : phase;
  const text = phase === 'waiting' ? t('press.waiting') : phase === 'done' ? `✓ ${t('press.done')}` : label;
  // Another button is another element, so releasing the previous one does not act on the one in its place.
  return repeat([key], one => one, () => html`<span class="press"><button class="${kind} ${is} ${hold ? 'hold' : ''}" ?disabled=${dead}
    data-cmd=${cmd}
    @click=${hold ? null : event => meant(event.currentTarget) && run()}
    @pointerdown=${hold ? event => beginHold(event, key, run) : null}
    @keydown=${hold ? event => beginHold(event, key, run) : null}
    @pointerup=${endHold} @pointerleave=${endHold} @pointercancel=${endHold} @keyup=${endHold} @blur=${endHold}
    @contextmenu=${event => hold && event.preventDefault()}
    >${text}${hold ? html`<small>${t('press.hold')}</small>` : nothing}</button>${
    phase === 'failed' ? html`<span class="problem" role="alert">⚠ ${press.text}</span>` : nothing}</span>`);
}

// Disables every button, choice and field in it while the link is lost, in every dialog.
export const dead = content => html`<fieldset class="whole" ?disabled=${live.lost}>${content}</fieldset>`;

export const mark = (shape, text, kind = '') =>
  html`<span class="mark ${kind}"><span aria-hidden="true">${shape}</span> ${text}</span>`;
