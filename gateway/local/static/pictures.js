// Pictures, each fetched when somebody opens it; the gateway audits who did.

import {failure, html, t, unread} from './show.js';

const known = new Map();      // id -> 'waiting' | 'gone' | {url} | {problem}
let turn = 0;                 // answers to requests from before the last `forget` are dropped

async function fetched(id) {
  try {
    const response = await fetch(`/pictures/${encodeURIComponent(id)}`);
    if (response.ok) return {url: URL.createObjectURL(await response.blob())};
    return response.status === 404 ? 'gone' : {problem: unread(await response.json())};
  } catch {
    return {problem: unread()};
  }
}

// True if the picture is loaded.
export async function look(id, show) {
  if (!known.has(id) || known.get(id) === 'gone' || known.get(id).problem) {
    const mine = turn;
    known.set(id, 'waiting');
    show();
    const told = await fetched(id);
    if (mine === turn) known.set(id, told);
    else if (told.url) URL.revokeObjectURL(told.url);
    show();
  }
  return Boolean(known.get(id)?.url);
}

export function forget() {
  turn++;
  for (const one of known.values()) if (one.url) URL.revokeObjectURL(one.url);
  known.clear();
}

// The picture, or the button to load it.
export function picture(id, label, show) {
  const one = known.get(id);
  if (one?.url) return html`<img src=${one.url} alt=${t('passages.picture')}>`;
  if (one?.problem) return failure(one.problem, () => look(id, show));
  if (one === 'waiting') return html`<span>${t('loading')}</span>`;
  if (one === 'gone') return html`<span>${t('passages.no-picture')}</span>`;
  return html`<button class="plain" @click=${() => look(id, show)}>${label}</button>`;
}
