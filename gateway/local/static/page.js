// The page: the strip, navigation, login, sound; and the first screen, the overview.

import {live, begin, now, logIn, logOut, command} from './live.js';
import {
  COUNTS, FAULTS, button, causes, clock, countOf, dead, dueIn, errorText, failure, has, hint, html, language, mark, moment,
  nothing, onPress, ownerOf, placeOf, pressed, pressing, render, repeat, settle, speak, t, unread, word, zoneName, zonesInTest,
} from './show.js';

const SCREENS = ['overview', 'gates', 'devices', 'lines', 'rounds', 'walk', 'box', 'log'];
const AT_THE_THUMB = ['overview', 'gates', 'devices'];
const WITH_LOGIN = new Set(['lines', 'walk', 'log']);
const RANK = ['critical', 'high', 'medium', 'low'];
const RING_S = 1.0;
const LOSS_MS = 1500;     // a login reopens the stream: that is not a loss

let screen = 'overview', loaded = {}, opened = null;    // opened: 'login' | 'more' | null
let login = {busy: false, problem: ''};

// ---- what stands ----

const alarms = () => Object.entries(live.state.alarms).map(([subject, alarm]) => ({subject, ...alarm}));
const isFire = alarm => alarm.kind === 'fire';
const byTime = (a, b) => Date.parse(b.raised_at) - Date.parse(a.raised_at);
const fires = () => alarms().filter(isFire)
  .sort((a, b) => Number(b.first_out) - Number(a.first_out) || byTime(a, b));
const others = () => alarms().filter(alarm => !isFire(alarm))
  .sort((a, b) => RANK.indexOf(a.severity) - RANK.indexOf(b.severity) || byTime(a, b));

function counts() {
  const sums = Object.fromEntries(COUNTS.map(name => [name, 0]));
  for (const alarm of alarms()) sums[countOf(alarm)]++;
  sums.test += zonesInTest().length;
  return sums;
}

function worst(count) {
  if (count.fire) return ['fire', '▲'];
  if (alarms().some(alarm => !alarm.test && ['critical', 'high'].includes(alarm.severity) && !FAULTS.has(alarm.kind)))
    return ['alarm', '◆'];
  return alarms().length ? ['fault', '■'] : ['normal', '●'];
}

// ---- sound: a new fire, until it is silenced ----

const sound = {context: null, quiet: new Set(), until: 0, lost: null};    // until: time of the context up to which tones are scheduled
const armed = () => sound.context?.state === 'running';

function arm() {
  if (!('AudioContext' in window)) return;
  sound.context ??= new AudioContext();
  sound.context.onstatechange = show;
  sound.context.resume().then(show, () => {});
}

const ringing = () => live.state ? fires().filter(alarm => !alarm.test && !alarm.shelved && !sound.quiet.has(alarm.alarm)) : [];

function ring() {
  document.body.dataset.ringing = ringing().length && armed() ? 'yes' : 'no';
  if (!armed() || !ringing().length) return;
  if (sound.context.currentTime < sound.until) return;
  sound.until = sound.context.currentTime + RING_S - 0.1;
  play('square', [880, 660], RING_S / 2);
  navigator.vibrate?.(200);
}

function play(type, pitches, each) {
  const {context} = sound, at = context.currentTime;
  for (const [turn, frequency] of pitches.entries()) {
    const tone = new OscillatorNode(context, {type, frequency}), level = new GainNode(context, {gain: 0.15});
    tone.connect(level).connect(context.destination);
    tone.start(at + turn * each);
    tone.stop(at + (turn + 1) * each - 0.02);
  }
}

// Sounds once after a lost link, because a person who looks away would wait for an alarm that cannot come.
function tellLoss() {
  if (live.lost && live.state) sound.lost ??= setTimeout(() => { if (armed()) play('sine', [520, 390, 260], 0.2); }, LOSS_MS);
  else {
    clearTimeout(sound.lost);
    sound.lost = null;
  }
}

// Silences this page, also while the link is lost, and the site's sounder.
function silence() {
  for (const alarm of fires()) sound.quiet.add(alarm.alarm);
  pressed();
  show();
  if (live.me.commands?.['alarm.silence'] && !live.lost) command('alarm.silence', {});
}

// ---- the strip ----

function strip() {
  if (!live.state) return html`<header class="strip"><h1>${t('lost.none')}</h1></header>`;
  const {site, box} = live.state, count = counts(), [state, shape] = live.lost ? ['unknown', '?'] : worst(count);
  return html`<header class="strip ${state}">
    <h1 class="worst"><span aria-hidden="true">${shape}</span> ${t(`worst.${state}`)}</h1>
    <button class="silence ${ringing().length ? '' : 'idle'}" @click=${silence}>♪ ${t('overview.silence')}</button>
    <ul class="counts" aria-label=${t('overview.alarms')}>${Object.entries(count).map(([name, n]) =>
      html`<li class="${n ? `some ${name}` : ''}" data-count=${name}>${t(`count.${name}`)} <b>${n}</b></li>`)}</ul>
    <span class="site">${site.name ?? site.id}${site.simulated ? html` <i>${t('simulated')}</i>` : nothing}</span>
    <ul class="signs">
      <li>${armed() ? mark('♪', t('sound.armed')) : html`<button class="plain warn" @click=${arm}>⚠ ${t('sound.unarmed')}</button>`}</li>
      <li>${live.lost ? mark('✕', t('link.lost'), 'warn') : mark('●', t('link.ok'))}</li>
      <li>${box.uplink.connected ? mark('●', t('broker.up')) : mark('✕', t('broker.down'), 'warn')}</li>
      <li>${box.clock.synced ? mark('●', t('clock.ok')) : mark('✕', t('clock.bad'), 'warn')}</li>
      <li class="now">${live.lost ? '--:--:--' : clock(now())}</li>
    </ul>
  </header>`;
}

const band = () => live.lost
  ? html`<div class="band" role="alert">✕ ${live.at ? t('lost.band', {time: clock(live.at)}) : t('lost.none')}</div>` : nothing;

// ---- the ways ----

const may = name => (!WITH_LOGIN.has(name) || Boolean(live.me.name)) && (name !== 'rounds' || Boolean(live.state?.rounds));

function way(name, label = t(`nav.${name}`)) {
  return html`<a href="#${name}" aria-current=${name === screen ? 'page' : nothing} @click=${() => { opened = null; show(); }}>${label}</a>`;
}

function ways() {
  const more = SCREENS.filter(name => !AT_THE_THUMB.includes(name) && may(name));
  return html`<nav class="ways" aria-label=${t('nav.places')}>${SCREENS.filter(may).map(name => way(name))}${person()}</nav>
  <nav class="thumb" aria-label=${t('nav.places')}>
    ${way('overview', t('nav.fires'))}${way('gates')}${way('devices')}
    <a href="#more" class="more" aria-expanded=${opened === 'more'} aria-current=${more.includes(screen) ? 'page' : nothing}
      @click=${event => { event.preventDefault(); open('more'); }}>${t('nav.more')}</a>
  </nav>
  ${opened === 'more' ? html`<div class="sheet">${more.map(name => way(name))}${person()}</div>` : nothing}`;
}

function person() {
  const {name, role, read_only: readOnly} = live.me;
  return dead(html`<span class="person">
    ${name ? html`<span>${name} (${word('role', role)})</span><button class="plain" @click=${logOut}>${t('login.out')}</button>`
      : readOnly ? html`<span>${t('login.read-only')}</span>`
        : html`<button class="plain login" @click=${() => open('login')}>${t('login.title')}</button>`}
    <button class="plain" @click=${() => say(language === 'zh' ? 'en' : 'zh')}
      lang=${language === 'zh' ? 'en' : 'zh-CN'}>${t('language')}</button>
    <button class="plain" @click=${nextTheme}>${t(`theme.${theme()}`)}</button></span>`);
}

const theme = () => document.documentElement.dataset.theme ?? 'auto';

function nextTheme() {
  const next = {auto: 'light', light: 'dark', dark: 'auto'}[theme()];
  if (next === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  localStorage.setItem('theme', next);
  show();
}

async function say(wanted) {
  await speak(wanted);
  localStorage.setItem('language', wanted);
  show();
}

function open(what) {
  opened = opened === what ? null : what;
  show();
  if (opened === 'login') document.querySelector('input[name=name]')?.focus();
}

// The next person must see and get nothing of the previous one.
let person_;
function personChanged() {
  person_ = live.me.name;
  for (const one of Object.values(loaded)) {
    one?.leave?.();
    one?.forget?.();
  }
  if (may(screen)) loaded[screen]?.enter?.(show);
  else history.replaceState(null, '', '#overview');
}

// ---- a page that is older than its gateway ----

const HASH = new URL('.', import.meta.url).pathname.split('/').at(-2);
const outdated = () => Boolean(live.state?.page) && live.state.page !== HASH;
const written = () => [...document.querySelectorAll('input')].some(one => one.value) || document.querySelector('label.photo + canvas') !== null;

// Once per version, and not during an action, because a reloaded page is silent until it is touched.
function renew() {
  if (!outdated() || live.lost || pressing() || written() || ringing().length || sessionStorage.getItem('renewed') === live.state.page) return;
  sessionStorage.setItem('renewed', live.state.page);
  location.reload();
}

const upgraded = () => outdated()
  ? html`<div class="band upgraded" role="status">${t('upgraded')} <button class="plain" ?disabled=${live.lost} @click=${() => location.reload()}>${t('upgraded.reload')}</button></div>` : nothing;

// ---- login ----

function loginForm() {
  return dead(html`<form class="sheet loginform" @submit=${enter} aria-label=${t('login.title')}>
    ${live.me.users ? html`
      <label>${t('login.name')} <input name="name" autocomplete="username" autocapitalize="none" required maxlength="63"></label>
      <label>${t('login.password')} <input name="password" type="password" autocomplete="current-password" required></label>
      <button class="strong" ?disabled=${login.busy}>${login.busy ? t('press.waiting') : t('login.enter')}</button>`
      : html`<p>${t('login.no-users')}</p>`}
    <button type="button" class="plain" @click=${() => open('login')}>${t('login.close')}</button>
    ${login.problem ? html`<p class="problem" role="alert">⚠ ${login.problem}</p>` : nothing}
  </form>`);
}

async function enter(event) {
  event.preventDefault();
  arm();
  const form = new FormData(event.target);
  await identify({name: form.get('name'), password: form.get('password')});
}

async function identify(told) {
  login = {busy: true, problem: ''};
  show();
  const answer = await logIn(told);
  login = {busy: false, problem: answer.ok ? '' : told.code ? t('error.wrong-code') : errorText(answer)};
  opened = answer.ok ? null : 'login';    // a login by link has no form yet to show the error
  show();
}

// ---- the overview ----

function due(alarm) {
  if (alarm.verify_by && !alarm.verified_as) return dueIn(alarm.verify_by, 'alarm.verify-by', 'alarm.verify-late');
  if (isFire(alarm)) return nothing;
  if (alarm.respond_by && !alarm.acknowledged) return dueIn(alarm.respond_by, 'alarm.respond-by');
  return alarm.resolve_by && alarm.active ? dueIn(alarm.resolve_by, 'alarm.resolve-by') : nothing;
}

const nameOf = alarm => has(`name.${alarm.name}`) && !isFire(alarm) ? t(`name.${alarm.name}`)
  : [word('kind', alarm.kind), alarm.name === alarm.kind ? '' : word('name', alarm.name)].filter(Boolean).join(' ');
const siteOf = alarm => alarm.place || (alarm.device ? placeOf(alarm.device) : '') || (alarm.zone ? zoneName(alarm.zone) : '')
  || ownerOf(alarm.subject);

function facts(alarm) {
  const reading = alarm.value === undefined || isFire(alarm) ? '' : `${alarm.value}${alarm.unit ? ` ${alarm.unit}` : ''}`;
  return html`<p class="facts">
    ${alarm.first_out && isFire(alarm) ? mark('①', t('alarm.first-out')) : nothing}
    <span>${t('alarm.since', {time: moment(alarm.raised_at)})}</span>
    ${reading ? html`<span>${reading}</span>` : nothing}
    ${alarm.acknowledged ? mark('✓', t('alarm.acknowledged')) : mark('!', t('alarm.unacknowledged'))}
    ${alarm.active ? nothing : mark('○', t(alarm.latched ? 'alarm.cleared' : 'alarm.returned'))}
    ${alarm.verified_as ? mark('✓', t(`alarm.verified.${alarm.verified_as}`)) : nothing}
    ${alarm.shelved ? mark('z', alarm.shelved_until ? t('alarm.shelved-until', {time: moment(alarm.shelved_until)}) : t('alarm.shelved')) : nothing}
    ${alarm.disabled ? mark('⊘', t('alarm.disabled')) : nothing}
    ${alarm.test ? mark('T', t('alarm.test')) : nothing}
    ${due(alarm)}</p>`;
}

const full = alarm => alarm.device && alarm.point ? `${alarm.device}.${alarm.point}.${alarm.name}` : alarm.device;

function shelving(alarm) {
  if (!full(alarm) || !live.me.commands?.['alarm.shelve']) return nothing;
  if (alarm.shelved) return button(t('alarm.unshelve'), 'alarm.shelve', {device: full(alarm), for: '0s'});
  return html`<details class="choices"><summary>${t('alarm.shelve')}</summary><div>${['15m', '1h', '8h'].map(time =>
    button(t(`shelve.${time}`), 'alarm.shelve', {device: full(alarm), for: time}))}</div></details>`;
}

function actions(alarm) {
  return html`<div class="actions">
    ${alarm.acknowledged ? nothing : button(t('alarm.acknowledge'), 'alarm.acknowledge', {alarm: alarm.alarm}, {kind: 'strong'})}
    ${isFire(alarm) && !alarm.verified_as && live.me.commands?.['alarm.verify'] ? html`<fieldset class="verify"><legend>${t('alarm.verify')}</legend>${
      ['real', 'false', 'test', 'unknown'].map(result =>
        button(t(`verify.${result}`), 'alarm.verify', {alarm: alarm.alarm, result}))}</fieldset>` : nothing}
    ${isFire(alarm) && alarm.active && alarm.zone ? button(t('alarm.confirm'), 'fire.confirm', {zone: alarm.zone}, {hold: true, key: `confirm/${alarm.subject}`}) : nothing}
    ${alarm.latched ? button(t('alarm.reset'), 'alarm.reset', {alarm: alarm.alarm}, {hold: true}) : nothing}
    ${shelving(alarm)}</div>`;
}

// The place first, then the device.
const card = alarm => html`<article class="alarm ${isFire(alarm) ? 'fire' : alarm.kind} ${alarm.active ? 'on' : 'off'}" data-alarm=${alarm.subject}>
  <h3><span aria-hidden="true">${isFire(alarm) ? '▲' : FAULTS.has(alarm.kind) ? '■' : '◆'}</span> ${siteOf(alarm)}
    <small>${[nameOf(alarm), alarm.zone && alarm.place ? zoneName(alarm.zone) : '', alarm.device ?? '',
      isFire(alarm) ? '' : word('severity', alarm.severity)].filter(Boolean).join(' · ')}</small></h3>
  ${facts(alarm)}${actions(alarm)}</article>`;

function heldGates() {
  const held = Object.entries(live.state.gates).filter(([, gate]) => gate.causes.length);
  return html`<section aria-labelledby="held"><h2 id="held">${t('overview.held')}</h2>${held.length
    ? repeat(held, ([id]) => id, ([id, gate]) => html`<article class="gate"><h3><a href="#gates">${gate.name ?? id}</a>
      <small>${word('actual', gate.actual)}</small></h3><ul class="causes">${causes(gate)}</ul></article>`)
    : html`<p class="none">${t('overview.none-held')}</p>`}</section>`;
}

function inTest() {
  const tested = zonesInTest();
  return tested.length ? html`<section aria-labelledby="tested"><h2 id="tested">${t('overview.tested')}</h2>${repeat(tested, ([id]) => id, ([id, until]) =>
    html`<article class="tested" data-tested=${id}><h3>${zoneName(id)} <small>${t('overview.tested-what')}</small></h3><p class="facts">${mark('T', t('alarm.test'))}${dueIn(until, 'overview.tested-left')}</p>
      <div class="actions">${button(t('zone.test-end'), 'zone.test', {zone: id, for: '0s'})}</div></article>`)}</section>` : nothing;
}

function confirming() {
  const zones = Object.keys(live.state.zones);
  if (!live.me.commands?.['fire.confirm'] || !zones.length) return nothing;
  return html`<details class="choices byhand"><summary>${t('overview.zone-fire')}</summary><div>${zones.map(zone =>
    button(zoneName(zone), 'fire.confirm', {zone}, {hold: true, key: `hand/${zone}`}))}</div></details>`;
}

function overview() {
  const burning = fires(), rest = others();
  return html`<section class="fires" aria-labelledby="fires"><h2 id="fires">${t('overview.fires')}</h2>
      ${burning.length ? repeat(burning, alarm => alarm.alarm, card) : html`<p class="none">${t('overview.no-fire')}</p>`}
      ${confirming()}</section>
    <div class="aside">${inTest()}${heldGates()}<section aria-labelledby="others"><h2 id="others">${t('overview.alarms')}</h2>
      ${rest.length ? repeat(rest, alarm => alarm.alarm, card) : html`<p class="none">${t('overview.no-alarms')}</p>`}</section></div>`;
}

// ---- all of it ----

function body() {
  if (!live.state) return nothing;
  if (screen === 'overview') return overview();
  if (loaded[screen] === null) return failure(unread(), go);
  if (!loaded[screen]) return html`<p class="none">${t('loading')}</p>`;
  return loaded[screen].draw();
}

let due_ = true;    // nothing can be drawn before the words are loaded
function show() {
  if (due_) return;
  due_ = true;
  const draw = () => { due_ = false; paint(); };
  if (document.hidden) setTimeout(draw); else requestAnimationFrame(draw);
}

function paint() {
  document.body.classList.toggle('lost', live.lost);
  const scrolled = scrollY;
  render(html`${band()}${upgraded()}${strip()}${ways()}${opened === 'login' ? loginForm() : nothing}
    <main class=${screen}>${dead(body())}</main>
    <footer><p>${t('footer')}</p><p>${live.state ? `site-gateway ${live.state.site.version} · ${live.state.site.gateway}` : ''}${
      live.me.name || live.me.read_only ? '' : ` · ${t('login.hint')}`}</p></footer>${hint()}`, document.body);
  settle(scrolled);
}

const wanted = () => {
  const name = location.hash.slice(1);
  return SCREENS.includes(name) && may(name) ? name : 'overview';
};

async function go() {
  loaded[screen]?.leave?.();
  screen = wanted();
  opened = null;
  show();
  scrollTo(0, 0);
  if (screen === 'overview') return;
  const name = screen;
  loaded[name] ??= await import(`./${name}.js`).catch(() => null);    // if the link is lost: again when it is back
  if (name === screen) loaded[name]?.enter?.(show);
  show();
}

async function main() {
  const code = /^#code=([\w-]+)$/.exec(location.hash)?.[1];
  if (code) history.replaceState(null, '', '/');
  const kept = localStorage.getItem('theme');
  if (kept && kept !== 'auto') document.documentElement.dataset.theme = kept;
  const words = speak(localStorage.getItem('language') ?? (navigator.language.startsWith('zh') ? 'zh' : 'en'));
  onPress(show);
  let wasLost = true;
  begin(() => {
    const back = wasLost && !live.lost;
    wasLost = live.lost;
    if (live.me.name !== person_) personChanged();
    if (wanted() !== screen || (back && loaded[screen] === null)) go();
    renew();
    ring();
    tellLoss();
    show();
  }, armed);
  await words;    // the state arrives meanwhile
  due_ = false;
  addEventListener('hashchange', go);
  addEventListener('pointerdown', arm);
  addEventListener('keydown', arm);
  setInterval(ring, RING_S * 1000);
  setInterval(show, 1000);
  await go();
  if (code) await identify({code});
}

main();
