// 记录: who asked for what, and what happened; the audit also as CSV.

import {live, ask} from './live.js';
import {
  errorText, failure, family, gateName, html, itemName, nothing, placeName, placeOf, reason, repeat, stamp, t, titleOf, unread, word, zoneName,
} from './show.js';

const STREAMS = ['audit', 'alarm', 'access', 'inspection'];
const LOOKING = 'access.viewed';       // the command of a look at a plate or picture; person.viewed reports the same
let show = () => {};
let stream = 'audit', by = '', cmd = '', events = null, next = null, turn = 0, problem = '';

export function enter(change) {
  show = change;
  read(false);
}

// The next person must not see what this one has read.
export function leave() {
  turn++;
  [events, next, problem] = [null, null, ''];
}

const narrowed = () => Object.entries({by, cmd}).filter(([, value]) => value && stream === 'audit')
  .map(([key, value]) => `&${key}=${encodeURIComponent(value)}`).join('');
const path = before => `${stream === 'audit' ? '/audit?limit=50' : `/history?stream=${stream}&limit=50`}${narrowed()}${
  before ? `&before=${encodeURIComponent(before)}` : ''}`;

async function read(more) {
  const mine = ++turn;
  if (!more) events = null;
  problem = '';
  show();
  const told = await ask(path(more ? next : null));
  if (mine !== turn) return;
  if (told.events) {
    events = [...(more ? events : []), ...told.events.filter(event => event.data.cmd !== LOOKING)];
    next = told.next ?? null;
  } else problem = unread(told);
  show();
}

function filter(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  [by, cmd] = [String(form.get('by') ?? '').trim(), form.get('cmd') ?? ''];
  read(false);
}

// ---- an event in words ----

const MANY = 3;                        // how many members of a list are shown

// The text for an argument's value.
const VALUES = {
  gate: gateName, zone: zoneName, round: titleOf, place: placeName, item: itemName, alarm: alarmName, device: deviceName, point: deviceName,
  for: spanText, trial: spanText, within: spanText, what: value => word('viewed', value), class: value => word('class', value),
  result: value => word('verify', value), cause: value => word('by', value), stream: value => word('stream', value),
};

function deviceName(id) {
  const [device, ...more] = id.split('.');
  return [placeOf(device), ...more].join(' ');
}

function alarmName(id) {
  const subject = Object.keys(live.state.alarms).find(one => live.state.alarms[one].alarm === id) ?? id;
  const [device, ...more] = subject.split('/');
  return more.length ? `${placeOf(device)} ${word('name', more.at(-1))}` : short(id);
}

function spanText(text) {
  return text.replace(/(\d)(ms|[smhd])/g, (_, digit, unit) => `${digit} ${t(`unit.${unit}`)}`);
}

// A number that only machines use.
const short = text => /^[0-9a-f-]{32,}$/.test(text) ? `${text.slice(0, 4)}…${text.slice(-8)}` : text;

function valueText(key, value) {
  if (typeof value === 'boolean') return t(`text.${value}`);
  if (Array.isArray(value)) return `${value.slice(0, MANY).map(one => valueText(key, one)).join(', ')}${value.length > MANY ? ' …' : ''}`;
  if (typeof value !== 'string') return JSON.stringify(value);
  return Object.hasOwn(VALUES, key) ? VALUES[key](value) : short(value);
}

// `0s` ends something with a duration.
const argument = ([key, value]) => key === 'for' && value === '0s' ? t('log.ends') : `${word('arg', key)} ${valueText(key, value)}`;
const args = given => given && typeof given === 'object'
  ? Object.entries(given).filter(([, value]) => value !== null).map(argument).join(' · ') : '';

function details({data}) {
  if (data.cmd) return [word('cmd', data.cmd), data.by ?? data.sub, data.ok === false ? `✕ ${errorText(data)}` : '', args(data.args)];
  if (data.alarm && data.kind) return [data.place ?? (data.device ? placeOf(data.device) : ''), word('kind', data.kind), data.verified_as ? t(`alarm.verified.${data.verified_as}`) : '', data.acknowledged_by ?? ''];
  if (data.passage && data.decision) return [data.plate ?? t('passages.no-plate'), gateName(data.gate), word('decision', data.decision), word('why', data.reason)];
  if (data.round) return [titleOf(data.round), data.item ? itemName(data.item) : '', data.reason ? reason(data.reason) : '', data.acknowledged_by ?? ''];
  if (data.gate) return [gateName(data.gate), word('by', data.cause), data.by ?? ''];
  if (data.device) return [placeOf(data.device), data.by ?? '', data.reason ?? ''];
  return [data.by ?? '', data.what ? word('viewed', data.what) : data.reason ?? data.version ?? ''];
}

const streams = () => STREAMS.filter(name => name !== 'inspection' || live.state.rounds);

const row = event => html`<tr><td>${stamp(event.time)}</td><td>${word('event', event.type)}</td><td>${event.subject ?? ''}</td><td>${details(event).filter(Boolean).join(' · ')}</td></tr>`;

export function draw() {
  return html`<form class="bar" @submit=${filter}><label>${t('log.stream')} <select name="stream" @change=${event => { stream = event.target.value; read(false); }}>${streams().map(name =>
      html`<option value=${name} ?selected=${name === stream}>${t(`log.${name}`)}</option>`)}</select></label>
    ${stream === 'audit' ? html`<label>${t('log.by')} <input name="by" maxlength="63" .value=${by}></label><label>${t('log.cmd')} <select name="cmd"><option value="">${t('log.all')}</option>${family('cmd').map(([name, text]) =>
      html`<option value=${name} ?selected=${name === cmd}>${text}</option>`)}</select></label>
      <button class="strong">${t('log.filter')}</button><a class="button" href="/audit?format=csv${narrowed()}" download="audit.csv">${t('log.csv')}</a>` : nothing}</form>
    ${events === null ? problem ? nothing : html`<p class="none">${t('loading')}</p>` : events.length ? html`<div class="wide" tabindex="0"><table class="stack"><thead><tr><th>${t('log.time')}</th><th>${t('log.what')}</th><th>${t('log.subject')}</th><th>${t('log.details')}</th></tr></thead>
      <tbody>${repeat(events, event => event.id, row)}</tbody></table></div>` : html`<p class="none">${t('log.none')}</p>`}
    ${problem ? failure(problem, () => read(events !== null)) : next ? html`<div class="bar"><button @click=${() => read(true)}>${t('log.more')}</button></div>` : nothing}`;
}
