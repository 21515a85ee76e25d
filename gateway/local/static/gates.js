// 门: order, actual state and causes of each gate; recent passages; letting in a denied car with one press.

import {live, ask} from './live.js';
import {button, causes, failure, gateName, html, left, moment, nothing, repeat, t, unread, word} from './show.js';
import {forget as forgetPictures, look as fetchPicture, picture} from './pictures.js';

const REASONS = ['visitor', 'delivery', 'misread', 'other'];
const DENIED_MS = 5 * 60_000;      // how long a denied car is shown large

let show = () => {};
const seen = new Map();            // passage -> {plate, raw, picture: ID, state}
const letIn = new Set();
let who = null;

export function enter(change) { show = change; }

export function leave() {
  forgetPictures();
  seen.clear();
  who = null;
}

export function forget() { presence.plate = ''; }

// ---- a gate ----

// One press opens, and that press is the reason.
const opening = (gate, passage) => !live.me.commands?.['gate.open'] ? nothing
  : html`<fieldset class="open"><legend>${t('gate.open')}</legend>${REASONS.map(reason =>
    button(t(`reason.${reason}`), 'gate.open',
      {gate, reason: t(`reason.${reason}`), ...(passage ? {passage} : {})},
      {kind: 'strong', key: `open/${gate}/${passage ?? ''}/${reason}`, after: told => { if (told.ok && passage) { letIn.add(passage); show(); } }}))}</fieldset>`;

function gateCard([id, gate]) {
  const after = gate.causes.some(cause => cause === 'after' || cause === 'unknown');
  const cloud = gate.causes.some(cause => cause.startsWith('command'));
  const people = gate.causes.includes('page');
  return html`<article class="gate ${gate.causes.length ? 'is-held' : ''}" data-gate=${id}>
    <h3>${gate.name ?? id} <small>${id}</small></h3>
    <dl><div><dt>${t('gate.commanded')}</dt><dd>${word('commanded', gate.commanded)}</dd></div>
      <div><dt>${t('gate.actual')}</dt><dd>${gate.actual === 'up' ? '△' : gate.actual === 'down' ? '▬' : '?'} ${word('actual', gate.actual)}</dd></div></dl>
    ${gate.causes.length ? html`<h4>${t('gate.causes')}</h4><ul class="causes">${causes(gate)}</ul>` : nothing}
    ${opening(id)}
    <div class="actions">
      ${people ? nothing : button(t('gate.hold'), 'gate.hold', {gate: id}, {hold: true, key: `hold/${id}`})}
      ${people ? button(t('gate.release'), 'gate.release', {gate: id, cause: 'page'}, {hold: true, key: `release/${id}`}) : nothing}
      ${cloud ? button(t('gate.release-cloud'), 'gate.release', {gate: id, cause: 'command'}, {hold: true, key: `cloud/${id}`}) : nothing}
      ${after ? button(t('gate.release-fire'), 'gate.release', {gate: id}, {hold: true, key: `after/${id}`}) : nothing}
    </div></article>`;
}

// ---- passages ----

async function look(id, passage) {
  const waiting = {state: 'waiting'};
  seen.set(id, waiting);
  show();
  const told = await ask(`/passages?id=${encodeURIComponent(id)}`);
  if (seen.get(id) !== waiting) return;     // the person has logged out
  const one = told.passages?.[0];
  seen.set(id, one ? {plate: one.plate, raw: one.plate_raw, state: 'there'} : {state: 'failed', problem: unread(told)});
  show();
  for (const id_ of one?.pictures ?? []) {
    if (!seen.has(id)) return;
    seen.set(id, {...seen.get(id), picture: id_});
    if (await fetchPicture(id_, show)) return;
  }
}

function plate(id, passage) {
  const one = seen.get(id);
  if (!live.me.name) return nothing;
  if (!one) return html`<button class="plain" @click=${() => look(id, passage)} >${t('passages.show')}</button>`;
  if (one.state === 'waiting') return html`<span>${t('loading')}</span>`;
  if (one.state === 'failed') return failure(one.problem, () => look(id, passage));
  const raw = one.raw && one.raw !== one.plate ? html`<small>${t('passages.raw')}: ${one.raw}</small>` : nothing;
  return html`<b class="plate">${one.plate || t('passages.no-plate')}</b>${raw}${one.picture
    ? picture(one.picture, '', show) : nothing}`;
}

// Logged-in users see plate and picture of a waiting car without another press; the look is audited.
function denied([id, passage]) {
  if (live.me.name && !live.lost && !document.hidden && !seen.has(id)) look(id, passage);
  return html`<article class="denied" data-passage=${id}><h3>✕ ${t('passages.denied')} · ${gateName(passage.gate)} ${word('direction', passage.direction)}
      <small>${moment(passage.seen_at)}</small></h3>
    <p class="why">${word('why', passage.reason)}</p>
    <div class="looked">${plate(id, passage)}</div>
    ${passage.gate ? opening(passage.gate, id) : nothing}</article>`;
}

const row = ([id, passage]) => html`<tr data-passage=${id}><td>${moment(passage.seen_at)}</td><td>${gateName(passage.gate)} ${word('direction', passage.direction)}</td>
  <td>${passage.decision === 'denied' ? '✕' : '✓'} ${word('decision', passage.decision)}${letIn.has(id) ? html`<small>✓ ${t('passages.let-in')}</small>` : nothing}</td><td>${word('why', passage.reason)}</td>
  ${live.me.name ? html`<td class="looked">${plate(id, passage)}</td>` : nothing}</tr>`;

// ---- who is inside ----

function presence() {
  if (!live.me.commands?.['access.presence'] || !Object.keys(live.state.cameras).length) return nothing;
  const of = event => event.target.closest('form').elements.plate.value.trim();
  const plateNow = presence.plate ?? '';
  return html`<details class="choices presence"><summary>${t('presence.title')}</summary><form @submit=${event => event.preventDefault()}>
    <label>${t('presence.plate')} <input name="plate" maxlength="32" .value=${plateNow} @input=${event => { presence.plate = of(event); show(); }}></label>
    ${plateNow ? html`${button(t('presence.in'), 'access.presence', {plate: plateNow, inside: true})}
      ${button(t('presence.out'), 'access.presence', {plate: plateNow, inside: false})}` : nothing}
    ${button(t('presence.who'), 'access.who', {}, {after: told => { who = told.ok ? told.result : null; show(); }})}
    ${who ? html`<ul>${inside().map(one => html`<li>${one}</li>`)}</ul>` : nothing}</form></details>`;
}

function inside() {
  const cars = Array.isArray(who) ? who : Object.values(who).find(Array.isArray) ?? [];
  return cars.length ? cars.map(car => typeof car === 'string' ? car : [car.plate, car.kind].filter(Boolean).join(' ')) : [t('presence.empty')];
}

export function draw() {
  const passages = Object.entries(live.state.passages)
    .sort(([, a], [, b]) => Date.parse(b.seen_at) - Date.parse(a.seen_at));
  const newest = new Set();     // only the last car at a gate is shown large
  const turnedAway = passages.filter(([, one]) => !newest.has(one.gate) && newest.add(one.gate))
    .filter(([id, one]) => one.decision === 'denied' && !one.late && !letIn.has(id) && -left(one.seen_at) < DENIED_MS);
  const gates = Object.entries(live.state.gates);
  return html`${repeat(turnedAway, ([id]) => id, denied)}
    <section class="gates">${gates.length ? repeat(gates, ([id]) => id, gateCard) : html`<p class="none">${t('gate.none')}</p>`}</section>
    ${presence()}
    <section class="passages" aria-labelledby="passages"><h2 id="passages">${t('passages.title')}</h2>${passages.length ? html`<div class="wide" tabindex="0"><table class="stack">
      <thead><tr><th>${t('passages.time')}</th><th>${t('nav.gates')}</th><th>${t('passages.decision')}</th><th>${t('passages.why')}</th>
      ${live.me.name ? html`<th>${t('passages.plate')}</th>` : nothing}</tr></thead>
      <tbody>${repeat(passages, ([id]) => id, row)}</tbody></table></div>` : html`<p class="none">${t('passages.none')}</p>`}</section>`;
}
