// 上行: the state of the box itself.

import {live} from './live.js';
import {gateName, html, nothing, span, t, word} from './show.js';

const ms = s => s === undefined ? '—' : `${(s * 1000).toFixed(1)} ms`;
const mib = bytes => bytes === undefined ? '—' : bytes > 2 ** 33 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const yes = value => value ? t('box.yes') : t('box.no');
const fact = (key, value, bad = false) => html`<div><dt>${t(key)}</dt><dd class=${bad ? 'bad' : ''}>${bad ? '✕ ' : ''}${value}</dd></div>`;

function uplink() {
  const one = live.state.box.uplink;
  return html`<article><h3>${t('box.uplink')}</h3><dl>${fact('box.state', one.connected ? t('box.connected-now') : t('box.disconnected'), !one.connected)}
    ${one.since === undefined ? nothing : fact('box.connected', span(one.since * 1000))}
    ${one.error ? fact('box.error', one.error, !one.connected) : nothing}
    ${fact('box.last-ack', one.acknowledged === undefined ? '—' : t('box.ago', {time: span(one.acknowledged * 1000)}))}
    ${fact('box.ack', `${ms(one.latency_p50)} / ${ms(one.latency_p99)}`)}${fact('box.accepted', one.accepted ?? 0)}${fact('box.in-flight', one.in_flight ?? 0)}</dl></article>`;
}

const oldest = age => age === undefined ? '—' : t('box.ago', {time: span(age * 1000)});

function journal() {
  const one = live.state.box.journal;
  return html`<article><h3>${t('box.journal')}</h3><div class="wide" tabindex="0"><table><thead><tr><th>${t('box.stream')}</th><th class="number">${t('box.waiting')}</th><th>${t('box.oldest')}</th></tr></thead>
    <tbody>${Object.entries(one.waiting ?? {}).map(([stream, n]) => html`<tr><td>${word('stream', stream)}</td><td class="number">${n}</td><td>${oldest(one.oldest?.[stream])}</td></tr>`)}</tbody></table></div>
    <dl>${fact('box.store', word('store', one.store), one.store !== 'ok')}${fact('box.commit', `${ms(one.commit_p50)} / ${ms(one.commit_p99)}`)}
    ${fact('box.losses', one.losses ?? 0, one.losses > 0)}${fact('box.size', mib(one.file_bytes))}</dl></article>`;
}

function machine() {
  const {machine: one, clock, process, config, well} = live.state.box;
  return html`<article><h3>${t('box.machine')}</h3><dl>${fact('box.well', t(well ? 'box.well-yes' : 'box.well-no'), !well)}
    ${fact('box.config', html`<code>${config.digest?.slice(0, 12) || '—'}</code>`)}${fact('box.trial', yes(config.trial))}${fact('box.version', live.state.site.version)}${fact('box.clock', clock.synced ? t('clock.ok') : t('clock.bad'), !clock.synced)}
    ${fact('box.uptime', span((one.uptime ?? 0) * 1000))}${fact('box.resident', mib(one.resident))}${fact('box.disk', mib(one.disk_free))}
    ${fact('box.load', Array.isArray(one.load) ? one.load.map(n => n.toFixed(1)).join(' ') : '—')}
    ${fact('box.reduced', yes(process.reduced), process.reduced)}${fact('box.crashes', process.crashes ?? 0, process.crashes > 0)}</dl></article>`;
}

function cameras() {
  const all = Object.entries(live.state.cameras ?? {});
  if (!all.length) return nothing;
  return html`<article><h3>${t('box.cameras')}</h3><dl>${all.map(([id, one]) => html`<div><dt>${id}</dt><dd class=${one.reachable === false ? 'bad' : ''}>${
    one.reachable === undefined ? t('box.silent') : one.reachable ? `● ${t('box.reachable')}` : `✕ ${t('box.unreachable')}`}${one.gate ? ` · ${gateName(one.gate)}` : ''}${
    one.passages === undefined ? '' : ` · ${t('box.passages')} ${one.passages}`}</dd></div>`)}</dl></article>`;
}

export const draw = () => html`<div class="boxes">${uplink()}${journal()}${machine()}${cameras()}</div>`;
