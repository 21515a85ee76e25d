// The state as it is told, and nothing else: the screens take the place of this file.
const shown = document.getElementById('state');
let state = {};

function merge(to, patch) {
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete to[key];
    else if (typeof value === 'object' && !Array.isArray(value)) merge(to[key] = to[key] ?? {}, value);
    else to[key] = value;
}

const events = new EventSource('/events');
events.addEventListener('state', event => { state = JSON.parse(event.data).state; show(); });
events.addEventListener('patch', event => { merge(state, JSON.parse(event.data).patch); show(); });

function show() {
  shown.textContent = JSON.stringify(state, null, 1);
}
