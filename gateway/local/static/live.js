// The link to the gateway: its last received state, whether that is current, and commands.
//
// Nothing here is ever repeated: a command without an answer is reported as such. If the browser has Web Locks,
// one tab reads the stream for all tabs of this browser; the others get it over a channel.

const SILENT_MS = 12_000;        // without a byte for this time the link is lost (docs/local-page.md)
const LOOK_MS = 250;             // how often that is checked
const RETRY_MS = [500, 1000, 2000, 4000];
const ANSWER_MS = 70_000;        // a reset takes up to 60 s
const CHANNEL = 'site-gateway';

export const live = {
  state: null,      // the tree, or null before the first one
  n: '', seen: '',
  lost: true,       // the shown state may be old: nothing may be pressed
  at: null,         // gateway time of the last received data, ms
  ahead: 0,         // gateway time minus performance.now(), ms: this machine's clock may be set meanwhile
  me: {users: true, read_only: false},
};

let heard = marked();            // when data was last received
let tick = performance.now();
let tell = () => {};
let keeps = () => false;         // whether this tab listens while it is hidden
let stream = null, retry = null, tries = 0;
let leading = false, release = null, asking = null;
let channel = null;

const isTree = value => typeof value === 'object' && value !== null && !Array.isArray(value);

export function merge(to, patch) {            // RFC 7396; the tree has no nulls
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete to[key];
    else if (isTree(value)) merge(isTree(to[key]) ? to[key] : (to[key] = {}), value);
    else to[key] = value;
}

export const now = () => performance.now() + live.ahead;    // the gateway's time, ms

export function begin(onChange, keepsListening) {
  [tell, keeps] = [onChange, keepsListening];
  if (navigator.locks && 'BroadcastChannel' in window) {
    channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = ({data}) => hear(data);
  }
  setInterval(look, LOOK_MS);
  document.addEventListener('visibilitychange', () => document.hidden ? leave() : again());
  addEventListener('pageshow', event => { if (event.persisted) again(); });
  addEventListener('pagehide', leave);
  addEventListener('online', again);
  addEventListener('offline', lose);
  if (!document.hidden || keeps()) join();
}

// ---- who reads the stream ----

function join() {
  if (!channel) return lead();
  if (asking) return;
  queue({});
  channel.postMessage({ask: true});
}

function queue(options) {
  tick = performance.now();
  const mine = asking = new AbortController();
  const more = options.steal ? {steal: true} : {signal: mine.signal};
  navigator.locks.request(CHANNEL, more, () => {
    if (asking !== mine) return;
    lead();
    return new Promise(done => { release = done; });
  }).catch(() => {              // taken by another tab, or released
    if (asking !== mine) return;
    stop();
    asking = null;
    if (!document.hidden || keeps()) join();
  });
}

function leave() {
  if (keeps() && document.hidden) return;
  stop();
  asking?.abort();
  asking = null;
  release?.();
  release = null;
  lose();
}

function again() {
  if (document.hidden && !keeps()) return;
  lose();
  if (leading) connect();
  else if (asking) channel.postMessage({ask: true});
  else join();
}

function lead() {
  leading = true;
  tries = 0;
  connect();
}

function stop() {
  leading = false;
  clearTimeout(retry);
  stream?.close();
  stream = null;
}

// ---- the stream ----

function connect() {
  clearTimeout(retry);
  stream?.close();
  const mine = stream = new EventSource(live.state && live.n ? `/events?from=${encodeURIComponent(live.n)}` : '/events');
  for (const kind of ['state', 'patch', 'beat'])
    mine.addEventListener(kind, event => {
      if (mine !== stream) return;
      tries = 0;
      pass({kind, data: JSON.parse(event.data)});
    });
  mine.onerror = () => {
    if (mine !== stream) return;
    mine.close();
    pass({kind: 'lost'});
    const wait = RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)];
    retry = setTimeout(connect, wait * (0.75 + Math.random() / 2));
  };
}

function pass(told) {
  channel?.postMessage(told);
  take(told);
}

function hear(told) {
  if (told.ask) {
    if (leading && live.state && !live.lost)
      channel.postMessage({kind: 'state', data: {n: live.n, state: live.state}, beat: beatNow()});
  } else if (told.me) {
    refreshMe();
    if (leading) connect();
  }
  else if (!leading && asking) take(told);
}

const beatNow = () => ({n: live.n, seen: live.seen, time: new Date(now()).toISOString()});

function take({kind, data, beat}) {
  tick = performance.now();
  if (kind === 'lost') return lose();
  if (kind === 'patch') {
    if (!live.state || !follows(live.n, data.n)) return missed();
    merge(live.state, data.patch);
  } else if (kind === 'state') live.state = data.state;
  if (kind === 'beat') onBeat(data);
  else live.n = data.n;
  if (beat) onBeat(beat);
  heard = marked();
  if (kind === 'beat' && live.lost && data.n !== live.n) return;    // missed patches come next
  live.at = now();
  const wasLost = live.lost;
  live.lost = !(live.state && live.seen);
  if (wasLost && !live.lost) refreshMe();
  tell();
}

function onBeat({time, seen}) {
  live.seen = seen;
  live.ahead = Date.parse(time) - performance.now();
}

function follows(before, after) {
  const [life, n] = before.split('.'), [life2, n2] = after.split('.');
  return life === life2 && Number(n2) === Number(n) + 1;
}

function missed() {
  live.n = '';
  lose();
  if (leading) connect();
  else channel?.postMessage({ask: true});
}

function lose() {
  live.seen = '';
  if (live.lost) return;
  live.lost = true;
  tell();
}

function marked() { return {runs: performance.now(), wall: Date.now()}; }

// By the monotonic clock, and by the wall clock, which runs while the machine sleeps; a wall clock that was set shows too long a time.
const since = mark => Math.max(performance.now() - mark.runs, Math.abs(Date.now() - mark.wall));

function look() {
  const silent = since(heard) > SILENT_MS;
  if (silent && !live.lost) {
    lose();
    if (leading) { pass({kind: 'lost'}); connect(); }
  }
  // The tab that reads for all sends nothing any more, not even that the link is lost: take its place.
  if (channel && asking && !leading && (!document.hidden || keeps()) && performance.now() - tick > SILENT_MS) {
    tick = performance.now();
    asking.abort();
    queue({steal: true});
  }
}

// ---- asking ----

async function answerOf(path, options = {}) {
  let response;
  try {
    response = await fetch(path, {cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS), ...options});
  } catch {
    return {ok: false, error: {code: 'no-answer'}};
  }
  let told;
  try {
    told = await response.json();
  } catch {
    return {ok: false, error: {code: 'no-answer'}};
  }
  if (response.status === 401 && live.me.name) refreshMe();
  if (response.status === 429) told.wait = Number(response.headers.get('Retry-After'));
  return response.ok ? {ok: true, ...told} : told;
}

const post = (path, told) => answerOf(path, {
  method: 'POST', body: JSON.stringify(told), referrerPolicy: 'same-origin',    // else Origin is sent as null
  headers: {'Content-Type': 'application/json', 'X-Site-Gateway': '1'},
});

export const ask = path => answerOf(path);

// A browser itself repeats a request if its connection breaks; the gateway recognises it by this.
const press = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), n => n.toString(36)).join('-');

// One press, one request. Not sent at all while the link is lost.
export async function command(cmd, args) {
  if (live.lost || !live.seen) return {ok: false, error: {code: 'stale'}};
  return post('/do', {cmd, args, seen: live.seen, press: press()});
}

async function refreshMe() {
  const told = await answerOf('/me');
  if (!told.ok) return;
  live.me = told;
  tell();
}

function changed(told) {
  if (!told.ok) return told;
  live.me = told;
  channel?.postMessage({me: true});
  if (leading) { lose(); connect(); }    // the stream belongs to the session
  tell();
  return told;
}

export const logIn = async told => changed(await post('/login', told));
export const logOut = async () => changed(await post('/logout', {}));
export const may = cmd => Boolean(live.me.commands?.[cmd]) && !live.lost;
