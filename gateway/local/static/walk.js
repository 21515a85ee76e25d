// 走查: the detectors of a zone, ticked off as each is tested. The zone is under test meanwhile, so nothing is triggered.

import {live, now} from './live.js';
import {button, html, moment, nothing, repeat, stamp, t, word, zoneName} from './show.js';

const LONG = '2h';
const KINDS = new Set(['smoke-detector', 'heat-detector', 'flame-detector', 'gas-detector', 'call-point']);
const KEPT = 'walk';
let show = () => {};
let zone = null, over = false;     // over: the person was asked whether the last results may be deleted
let walk = JSON.parse(sessionStorage.getItem(KEPT) ?? 'null');    // {zone, by, began, ended, seen, elsewhere, tested: {DEVICE: time}}

export function enter(change) {
  show = change;
  zone = walk?.zone ?? zone;
}

const keep = () => sessionStorage.setItem(KEPT, JSON.stringify(walk));
const detectors = () => Object.entries(live.state.devices).filter(([, one]) => one.zone === zone && KINDS.has(one.kind));

function began(told) {
  if (!told.ok) return;
  walk = {zone, by: live.me.name, began: now(), ended: null, tested: {}};
  over = false;
  keep();
  show();
}

function ended(told) {
  if (!told.ok || !walk) return;
  Object.assign(walk, {ended: now(), elsewhere: false});
  keep();
  show();
}

function tick() {
  if (!walk || walk.ended || live.lost) return;
  for (const alarm of Object.values(live.state.alarms)) {
    if (alarm.zone !== walk.zone || !alarm.device || walk.tested[alarm.device] || !alarm.active) continue;
    if (!['fire', 'gas'].includes(alarm.kind) || Date.parse(alarm.raised_at) < walk.began - 2000) continue;
    walk.tested[alarm.device] = Date.parse(alarm.raised_at);
    keep();
    confirmBySound();
  }
}

// The gateway's state shows whether the zone is under test. `seen`: it has shown that since the walk began.
function follow() {
  if (!walk || walk.ended || live.lost) return;
  const tested = Boolean(live.state.zones[walk.zone]?.test_until);
  if (tested === Boolean(walk.seen)) return;
  if (tested) walk.seen = true;
  else Object.assign(walk, {ended: now(), elsewhere: true});
  keep();
}

function confirmBySound() {
  navigator.vibrate?.([100, 50, 100]);
  if (!('AudioContext' in window)) return;
  const context = new AudioContext(), tone = new OscillatorNode(context, {frequency: 1200}), level = new GainNode(context, {gain: 0.1});
  tone.connect(level).connect(context.destination);
  tone.start();
  tone.stop(context.currentTime + 0.2);
  tone.onended = () => context.close();
}

function record(all) {
  if (!walk) return nothing;
  return html`<section class="record"><h2>${t('walk.record')}</h2><p>${live.state.site.name ?? live.state.site.id} · ${zoneName(walk.zone)}</p>
    <p>${stamp(walk.began)} – ${walk.ended ? stamp(walk.ended) : t('walk.not-ended')} · ${t('walk.by')}: ${walk.by ?? ''}</p>
    <table><tbody>${all.map(([id, one]) => html`<tr><td>${one.place ?? id}</td><td>${word('devices.kind', one.kind)}</td><td>${id}</td>
      <td>${walk.tested[id] ? `✓ ${stamp(walk.tested[id])}` : `✕ ${t('walk.not-yet')}`}</td></tr>`)}</tbody></table></section>`;
}

// Results are not deleted by a single press, because they may not be printed yet.
function starting() {
  const asks = Object.keys(walk?.tested ?? {}).length && !over, ask = asked => () => { over = asked; show(); };
  if (!live.me.commands?.['zone.test']) return nothing;
  if (asks) return html`<button @click=${ask(true)}>${t('walk.again')}</button>`;
  return html`${over ? html`<p class="problem" role="alert">⚠ ${t('walk.over', {zone: zoneName(walk.zone), time: stamp(walk.began)})}</p>
      <button @click=${ask(false)}>${t('walk.keep')}</button>` : nothing}
    ${button(t('walk.start'), 'zone.test', {zone, for: LONG}, {hold: true, kind: 'strong', key: `walk/${zone}`, after: began})}`;
}

export function draw() {
  tick();
  follow();
  const running = walk && !walk.ended, all = zone ? detectors() : [];
  const done = all.filter(([id]) => walk?.zone === zone && walk.tested[id]).length;
  return html`<div class="bar no-print"><label>${t('walk.zone')} <select ?disabled=${running} @change=${event => { zone = event.target.value || null; show(); }}>
      <option value="">${t('walk.pick')}</option>${Object.keys(live.state.zones).map(id => html`<option value=${id} ?selected=${id === zone}>${zoneName(id)}</option>`)}</select></label>
      ${zone && !running ? starting() : nothing}
      ${running ? button(t('walk.end'), 'zone.test', {zone: walk.zone, for: '0s'}, {hold: true, key: 'walk/end', after: ended}) : nothing}
      ${walk?.zone === zone && zone ? html`<button @click=${() => print()}>${t('walk.print')}</button>` : nothing}</div>
    <p class="no-print">${t('walk.intro')}</p>
    ${walk?.elsewhere && walk.zone === zone ? html`<p class="problem no-print" role="alert">⚠ ${t('walk.elsewhere', {zone: zoneName(walk.zone)})}</p>` : nothing}
    ${zone ? html`<p class="no-print" role="status"><b>${t('walk.progress', {done, all: all.length})}</b></p>
    <ul class="walk no-print">${all.length ? repeat(all, ([id]) => id, ([id, one]) => {
      const at = walk?.zone === zone ? walk.tested[id] : undefined;
      return html`<li class=${at ? 'tested' : ''} data-device=${id}><span aria-hidden="true">${at ? '✓' : '○'}</span><span>${one.place ?? id} <small>${word('devices.kind', one.kind)} · ${id}</small></span>
        <span>${at ? t('walk.tested', {time: moment(at)}) : t('walk.not-yet')}</span></li>`;
    }) : html`<li>${t('walk.none')}</li>`}</ul>${walk?.zone === zone ? record(all) : nothing}` : nothing}`;
}
