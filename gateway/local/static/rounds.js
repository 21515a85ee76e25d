// 巡检: present questions to people, the rounds and their progress, findings, and kept runs.

import {live, ask} from './live.js';
import {
  button, dueIn, failure, html, itemName, moment, nothing, placeName, placeOf, reason, repeat, stamp, t, titleOf, unread, word,
} from './show.js';
import {forget as forgetPictures, picture} from './pictures.js';
import {shrunk} from './photo.js';

const CLASSES = ['ordinary', 'complex', 'major'];
const SHAPES = {normal: '✓', abnormal: '✕', 'not-checkable': '?'};
const PIECE = 10;                  // runs at a time

let show = () => {};
let kept = null, next = null, turn = 0, problem = '';    // runs of the journal, newest first
let seenRuns = '';
const said = new Map();            // RUN/ITEM, finding/FINDING -> {note, tag, photo, problem}: what a person is about to say
const open = new Set();            // runs whose items are shown

export function enter(change) {
  show = change;
  seenRuns = running();
  read(false);
}

export function leave() {
  forgetPictures();
  turn++;
  kept = null;
}

// The next person must not get the unsent answers of this one.
export function forget() { said.clear(); }

const running = () => Object.values(live.state.rounds).map(round => round.run?.run ?? '').join();

async function read(more) {
  if (!live.me.name) return;
  const mine = ++turn;
  const told = await ask(`/rounds?limit=${PIECE}${more && next ? `&before=${encodeURIComponent(next)}` : ''}`);
  if (mine !== turn) return;
  problem = told.runs ? '' : unread(told);
  if (told.runs) {
    kept = [...(more ? kept ?? [] : []), ...told.runs];
    next = told.next ?? null;
  }
  show();
}

// ---- what a person is asked ----

const stateOf = key => said.get(key) ?? said.set(key, {note: '', tag: '', photo: null, problem: ''}).get(key);

async function take(event, state) {
  const [file] = event.target.files;
  event.target.value = '';
  if (!file) return;
  Object.assign(state, {photo: null, problem: t('loading')});
  show();
  state.photo = await shrunk(file);
  state.problem = state.photo ? '' : t('rounds.photo-bad');
  show();
}

function photoOf(one, state) {
  return html`<label class="button photo">${state.photo ? t('rounds.photo-again') : one.photo ? t('rounds.photo-needed') : t('rounds.photo')}
      <input type="file" accept="image/jpeg" capture="environment" @change=${event => take(event, state)}></label>
    ${state.photo?.canvas ?? nothing}${state.problem ? html`<p class="problem" role="alert">${state.problem}</p>` : nothing}`;
}

function question(run, one) {
  const key = `${run}/${one.item}`, state = stateOf(key), tag = one.place && live.state.places[one.place]?.tag;
  const args = {
    run, item: one.item, ...(one.place ? {place: one.place} : {}), ...(state.note ? {note: state.note} : {}),
    ...(state.tag ? {tag: state.tag} : {}), ...(state.photo ? {photo: state.photo.jpeg} : {}),
  };
  const answer = (ok, kind) => button(t(ok ? 'rounds.yes' : 'rounds.no'), 'inspection.answer', {...args, ok}, {
    kind, key: `${key}/${ok}`, off: one.photo && !state.photo, after: told => { if (told.ok) said.delete(key); },
  });
  return html`<article class="asked" data-item=${one.item}><h3>${one.text}<small>${one.place ? placeName(one.place) : ''}</small></h3>
    ${live.me.commands?.['inspection.answer'] ? html`<div class="bar">${photoOf(one, state)}</div>
    <div class="bar">${tag ? html`<label>${t(`rounds.tag.${tag}`)} <input name="tag" maxlength="512" autocapitalize="none" .value=${state.tag}
        @input=${event => { state.tag = event.target.value.trim(); show(); }}></label>` : nothing}
      <label>${t('rounds.note')} <input name="note" maxlength="200" .value=${state.note} @input=${event => { state.note = event.target.value; show(); }}></label></div>
    <div class="actions">${answer(true, 'strong')}${answer(false, '')}</div>` : nothing}</article>`;
}

function questions() {
  const asked = Object.values(live.state.rounds).filter(round => round.run?.asked.length);
  if (!asked.length) return nothing;
  return html`<section class="questions" aria-labelledby="asked"><h2 id="asked">${t('rounds.asked')}</h2>${asked.map(({run}) =>
    repeat(run.asked, one => `${run.run}/${one.item}`, one => question(run.run, one)))}</section>`;
}

// ---- the rounds ----

function progress(run) {
  return html`<p role="status"><b>${t('rounds.progress', {done: run.done, all: run.of})}</b> · ${t('alarm.since', {time: moment(run.started_at)})}
      ${run.due_at ? html` · ${t('rounds.due', {time: moment(run.due_at)})}` : nothing}
      ${run.looking_at.length ? html` · ${t('rounds.looking', {names: run.looking_at.map(placeOf).join(', ')})}` : nothing}</p>
    <progress max=${run.of} value=${run.done} aria-label=${t('nav.rounds')}></progress>
    <ul class="items">${repeat(Object.entries(run.items), ([id]) => id, ([id, one]) => line({item: id, ...one}))}</ul>`;
}

function card([id, round]) {
  return html`<article class="round" data-round=${id}><h3>${titleOf(id)} <small>${[id, t('rounds.items', {n: round.items}),
      round.next_at ? t('rounds.next', {time: moment(round.next_at)}) : t('rounds.on-demand')].join(' · ')}</small></h3>
    ${round.run ? progress(round.run) : nothing}
    <div class="actions">${round.run ? button(t('rounds.cancel'), 'inspection.cancel', {round: id}, {hold: true})
      : button(t('rounds.run'), 'inspection.run', {round: id}, {kind: 'strong'})}</div></article>`;
}

// ---- what they have found ----

function finding([id, one]) {
  const key = `finding/${id}`, state = stateOf(key);
  const args = name => ({finding: id, class: name, ...(state.note ? {note: state.note} : {})});
  return html`<article class="finding" data-finding=${id}><h3><span aria-hidden="true">◆</span> ${itemName(one.item)}
      <small>${[titleOf(one.round), word('class', one.class)].join(' · ')}</small></h3>
    <p class="facts"><span>${reason(one.reason)}</span><span>${t('alarm.since', {time: moment(one.opened_at)})}</span>
      ${one.acknowledged_at ? html`<span>✓ ${t('alarm.acknowledged')}</span>` : html`<span>! ${t('alarm.unacknowledged')}</span>${dueIn(one.respond_by, 'alarm.respond-by')}`}
      ${dueIn(one.resolve_by, 'alarm.resolve-by')}</p>
    ${live.me.name ? html`<div class="looked">${(one.before ?? []).map(picture_ => picture(picture_, t('rounds.picture'), show))}</div>` : nothing}
    ${live.me.commands?.['finding.acknowledge'] ? html`<fieldset class="verify"><legend>${t('rounds.acknowledge')}</legend>
      <label>${t('rounds.note')} <input name="note" maxlength="200" .value=${state.note} @input=${event => { state.note = event.target.value; show(); }}></label>${CLASSES.map(name =>
      button(t(`class.${name}`), 'finding.acknowledge', args(name), {kind: one.acknowledged_at || name !== one.class ? '' : 'strong',
        key: `${key}/${name}`, after: told => { if (told.ok) said.delete(key); }}))}</fieldset>` : nothing}</article>`;
}

function findings() {
  const all = Object.entries(live.state.findings).sort(([, a], [, b]) => Date.parse(a.opened_at) - Date.parse(b.opened_at));
  return html`<section aria-labelledby="found"><h2 id="found">${t('rounds.findings')}</h2>${all.length
    ? repeat(all, ([id]) => id, finding) : html`<p class="none">${t('rounds.no-findings')}</p>`}</section>`;
}

// ---- the runs that are kept ----

function line(one) {
  const evidence = one.evidence ?? {};
  const facts = [
    one.value === undefined || !/^(point|device):/.test(one.item) ? '' : `${one.value}${one.unit ? ` ${one.unit}` : ''}`,
    one.reason ? reason(one.reason) : '', evidence.text ?? '', evidence.raw === undefined ? '' : t('rounds.raw', {raw: evidence.raw}),
    evidence.by ? `${evidence.by} · ${t('rounds.presence')}: ${t(`presence.${evidence.presence ?? 'none'}`)}` : '',
    one.at ? moment(one.at) : '', evidence.clock === 'unsynced' ? t('clock.bad') : '',
  ].filter(Boolean);
  return html`<li class=${one.outcome} data-item=${one.item}><span aria-hidden="true">${SHAPES[one.outcome]}</span>
    <span><b>${word('outcome', one.outcome)}</b> ${itemName(one.item)} <small>${facts.join(' · ')}</small></span>
    ${one.pictures?.length ? html`<span class="looked">${one.pictures.map(id => picture(id, t('rounds.picture'), show))}</span>` : nothing}</li>`;
}

function past(event) {
  const run = event.data, missed = event.type === 'inspection.missed';
  const count = outcome => run.items.filter(one => one.outcome === outcome).length;
  const sum = missed ? `✕ ${t('rounds.missed')}` : Object.keys(SHAPES).filter(count)
    .map(outcome => `${SHAPES[outcome]} ${word('outcome', outcome)} ${count(outcome)}`).join(' · ');
  return html`<details class="device run" data-run=${run.run} ?open=${open.has(run.run)} @toggle=${event_ => { open[event_.target.open ? 'add' : 'delete'](run.run); show(); }}>
    <summary><b>${titleOf(run.round)}</b><small>${stamp(run.planned_at ?? run.started_at)}</small>
      <span>${sum}</span></summary>
    ${open.has(run.run) ? html`<div class="inside"><ul class="items">${run.items.map(line)}</ul>
      ${run.digest ? html`<p class="hex">SHA-256 ${run.digest}</p>` : nothing}</div>` : nothing}</details>`;
}

function pastRuns() {
  if (!live.me.name) return nothing;
  return html`<section aria-labelledby="kept"><h2 id="kept">${t('rounds.kept')}</h2>${kept === null ? problem ? nothing : html`<p class="none">${t('loading')}</p>`
    : kept.length ? repeat(kept, event => event.id, past) : html`<p class="none">${t('log.none')}</p>`}
    ${problem ? failure(problem, () => read(kept !== null)) : next ? html`<div class="bar"><button @click=${() => read(true)}>${t('log.more')}</button></div>` : nothing}</section>`;
}

export function draw() {
  const now = running();
  if (now !== seenRuns) {           // a run has begun or ended
    seenRuns = now;
    read(false);
  }
  return html`${questions()}
    <section class="gates rounds" aria-label=${t('nav.rounds')}>${repeat(Object.entries(live.state.rounds), ([id]) => id, card)}</section>
    ${findings()}${pastRuns()}<p class="none">${t('rounds.notice')}</p>`;
}
