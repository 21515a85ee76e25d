// Pictures, each fetched when somebody looks at it: the gateway writes down who did.

import {html, t} from './show.js';

const known = new Map();      // id -> 'waiting' | 'gone' | {url}

// True if it is there.
export async function look(id, show) {
  if (!known.has(id) || known.get(id) === 'gone') {
    known.set(id, 'waiting');
    show();
    const response = await fetch(`/pictures/${encodeURIComponent(id)}`).catch(() => null);
    const url = response?.ok ? URL.createObjectURL(await response.blob()) : null;
    if (known.has(id)) known.set(id, url ? {url} : 'gone');
    else if (url) URL.revokeObjectURL(url);
    show();
  }
  return Boolean(known.get(id)?.url);
}

export function forget() {
  for (const one of known.values()) if (one.url) URL.revokeObjectURL(one.url);
  known.clear();
}

// The picture; before somebody has pressed, the button for it.
export function picture(id, label, show) {
  const one = known.get(id);
  if (one?.url) return html`<img src=${one.url} alt=${t('passages.picture')}>`;
  if (one === 'waiting') return html`<span>${t('loading')}</span>`;
  if (one === 'gone') return html`<span>${t('passages.no-picture')}</span>`;
  return html`<button class="plain" @click=${() => look(id, show)}>${label}</button>`;
}
