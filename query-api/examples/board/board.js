// A live board in plain JavaScript, with `graphql-ws` as the registry has it. The whole of it:
//
// 1. Subscribe. The first frame holds the board, each later one what changed.
// 2. Keep the cursor of the last frame in the variables: `graphql-ws` sends that same object again when it connects again,
//    so the server goes on exactly where this page was.
// 3. Whenever a frame has a snapshot, it replaces what was known.
'use strict';

const BOARD = `
  fragment C on Card { id lane rank title blockedReason activeRunId lastRun { result failure } }
  fragment P on Project { id name lanes { key name } }
  subscription Board($project: ID!, $since: Cursor) {
    boardChanged(project: $project, since: $since) {
      cursor resync removed cards { ...C } project { ...P }
      snapshot { project { ...P } lanes { cards { ...C } } }
    }
  }`;

const at = (id) => document.getElementById(id);
/** What is known: the project, and its cards by id. */
let board;
let client;

/** The board after a frame; the ids of the cards that it changed. */
function fold(frame) {
  if (frame.snapshot) {
    const cards = frame.snapshot.lanes.flatMap((lane) => lane.cards);
    board = { project: frame.snapshot.project, cards: new Map(cards.map((card) => [card.id, card])) };
    return [];
  }
  if (frame.project) board.project = frame.project;
  for (const card of frame.cards) board.cards.set(card.id, card);
  for (const id of frame.removed) board.cards.delete(id);
  return frame.cards.map((card) => card.id);
}

/** Cards stand in the byte order of their ranks, and of their ids where ranks are equal. */
function byPlace(a, b) {
  const [x, y] = a.rank === b.rank ? [a.id, b.id] : [a.rank, b.rank];
  return x < y ? -1 : x > y ? 1 : 0;
}

function element(name, text, more = {}) {
  return Object.assign(document.createElement(name), { textContent: text, ...more });
}

function show(changed) {
  at('name').textContent = board.project.name;
  const cards = [...board.cards.values()].sort(byPlace);
  const known = board.project.lanes.map((lane) => lane.key);
  // A card whose lane has gone is shown all the same.
  const strays = [...new Set(cards.map((card) => card.lane))].filter((key) => !known.includes(key));
  const lanes = [...board.project.lanes, ...strays.map((key) => ({ key, name: key }))];
  at('board').replaceChildren(
    ...lanes.map((lane) => {
      const section = element('section', '', { ariaLabel: lane.name });
      section.dataset.lane = lane.key;
      const list = element('ol', '');
      const own = cards.filter((card) => card.lane === lane.key);
      for (const card of own) {
        const item = element('li', card.title, { className: changed.includes(card.id) ? 'new' : '' });
        item.dataset.card = card.id;
        const note = card.activeRunId ? 'running' : (card.blockedReason ?? card.lastRun?.failure ?? card.lastRun?.result);
        if (note) item.append(element('small', note));
        list.append(item);
      }
      section.append(element('h2', `${lane.name} · ${own.length}`), own.length ? list : element('p', 'no cards', { className: 'empty' }));
      return section;
    }),
  );
}

function state(text, live) {
  at('state').textContent = text;
  at('state').toggleAttribute('data-live', Boolean(live));
}

function fail(text) {
  at('error').textContent = text;
  at('error').hidden = !text;
  at('ask').hidden = !text;
}

/** The ids of the tenant's projects, for who does not know one by heart. */
async function projects(token) {
  const answer = await fetch('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query: '{ projects(first: 100) { nodes { id name } } }' }),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail);
  return body.data.projects.nodes;
}

async function start(token, project) {
  client?.dispose();
  fail('');
  try {
    if (!project) {
      const known = await projects(token);
      at('projects').replaceChildren(...known.map(({ id, name }) => element('option', name, { value: id })));
      if (known.length === 0) return fail('This tenant has no projects yet: create one with POST /v1/projects.');
      if (known.length > 1) return fail(`Choose one of ${known.length} projects: ${known.map((one) => one.id).join(', ')}`);
      project = known[0].id;
    }
  } catch (error) {
    return fail(error.message);
  }
  state('connecting …');
  client = graphqlWs.createClient({
    url: `${location.origin.replace(/^http/, 'ws')}/graphql`,
    connectionParams: { token },
    retryAttempts: Infinity,
    retryWait: (times) => new Promise((done) => setTimeout(done, Math.min(200 * 2 ** times, 5000) * (0.5 + Math.random()))),
    // 4403 is the token's end or no token at all: the same one would be refused again.
    shouldRetry: (event) => event?.code !== 4403,
    on: { connected: () => state('live', true), closed: () => state('connection lost, connecting again …') },
  });
  const variables = { project };
  client.subscribe({ query: BOARD, variables }, {
    next({ data, errors }) {
      if (errors) return fail(errors[0].extensions.code === 'not_found' ? 'There is no such project.' : errors[0].message);
      show(fold(data.boardChanged));
      variables.since = data.boardChanged.cursor;
    },
    error(error) {
      state('not connected');
      fail(error.code === 4403 ? `The token was refused: ${error.reason}` : String(error.message ?? error[0]?.message ?? error.reason));
    },
    complete() {},
  });
}

at('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  start(at('token').value.trim(), at('project').value.trim());
});

// `#token=…&project=…` starts at once. What stands behind # never leaves the browser; it is taken out of the address.
const given = new URLSearchParams(location.hash.slice(1));
if (given.get('token')) {
  history.replaceState(null, '', location.pathname);
  start(given.get('token'), given.get('project') ?? '');
}
