// 记录: who asked for what, and what happened. Of the audit a CSV.

import {live, ask} from './live.js';
import {failure, gateName, has, html, nothing, placeOf, repeat, stamp, t, unread, word} from './show.js';

const STREAMS = ['audit', 'alarm', 'access', 'inspection'];
const LOOKING = 'access.viewed';       // what a look at a plate or picture is asked by: person.viewed says the same
let show = () => {};
let stream = 'audit', by = '', cmd = '', events = null, next = null, turn = 0, problem = '';

export function enter(change) {
  show = change;
  read(false);
}

// Nobody who comes next is shown what this one has read.
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
  [by, cmd] = [String(form.get('by') ?? '').trim(), String(form.get('cmd') ?? '').trim()];
  read(false);
}

function details({data}) {
  if (data.cmd) return [data.cmd, data.by ?? data.sub, data.ok === false ? `✕ ${data.error?.code && has(`error.${data.error.code}`) ? t(`error.${data.error.code}`) : ''}` : '', args(data.args)];
  if (data.alarm && data.kind) return [data.place ?? (data.device ? placeOf(data.device) : ''), word('kind', data.kind), data.verified_as ? t(`alarm.verified.${data.verified_as}`) : '', data.acknowledged_by ?? ''];
  if (data.passage && data.decision) return [data.plate ?? t('passages.no-plate'), gateName(data.gate), word('decision', data.decision), word('why', data.reason)];
  if (data.round) return [data.item ?? '', data.reason ?? '', data.acknowledged_by ?? ''];
  if (data.gate) return [gateName(data.gate), data.cause ?? '', data.by ?? ''];
  return [data.by ?? '', data.what ? word('viewed', data.what) : data.reason ?? data.version ?? ''];
}

const args = given => given && typeof given === 'object' ? Object.entries(given).map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`).join(' ') : '';

const streams = () => STREAMS.filter(name => name !== 'inspection' || live.state.rounds);

const row = event => html`<tr><td>${stamp(event.time)}</td><td>${word('event', event.type)}</td><td>${event.subject ?? ''}</td><td>${details(event).filter(Boolean).join(' · ')}</td></tr>`;

export function draw() {
  return html`<form class="bar" @submit=${filter}><label>${t('log.stream')} <select @change=${event => { stream = event.target.value; read(false); }}>${streams().map(name =>
      html`<option value=${name} ?selected=${name === stream}>${t(`log.${name}`)}</option>`)}</select></label>
    ${stream === 'audit' ? html`<label>${t('log.by')} <input name="by" maxlength="63" .value=${by}></label><label>${t('log.cmd')} <input name="cmd" maxlength="63" .value=${cmd} placeholder="gate.open"></label>
      <button class="strong">${t('log.filter')}</button><a class="button" href="/audit?format=csv${narrowed()}" download="audit.csv">${t('log.csv')}</a>` : nothing}</form>
    ${events === null ? problem ? nothing : html`<p class="none">${t('loading')}</p>` : events.length ? html`<div class="wide" tabindex="0"><table class="stack"><thead><tr><th>${t('log.time')}</th><th>${t('log.what')}</th><th>${t('log.subject')}</th><th>${t('log.details')}</th></tr></thead>
      <tbody>${repeat(events, event => event.id, row)}</tbody></table></div>` : html`<p class="none">${t('log.none')}</p>`}
    ${problem ? failure(problem, () => read(events !== null)) : next ? html`<div class="bar"><button @click=${() => read(true)}>${t('log.more')}</button></div>` : nothing}`;
}
