// Many subscribers, with unmodified graphql-ws, cut off again and again while cards come, move and go and somebody else
// (the test that started this) kills the servers: in the end each of them must have the server's own board.
//
// Says `ready` when all have their first frame, then `worked` after each so many commands, and goes on until it reads a
// line; then it compares. The pauses pace the load and the client's attempts to come back; nothing is decided by them.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as setTimer } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { BoardChangedDocument, foldBoard, follow, lanesOf } from '../dist/index.js';
import { base, authorization, project, socketUrl, token, url } from './server.mjs';

const SUBSCRIBERS = Number(process.env.AW_SUBSCRIBERS ?? 40);
const CUTS = Number(process.env.AW_CUTS ?? 400);
const random = (n) => Math.floor(Math.random() * n);

class Subscriber {
  frames = 0;
  resyncs = 0;
  constructor() {
    this.client = createClient({
      url: socketUrl,
      webSocketImpl: WebSocket,
      connectionParams: { token },
      retryAttempts: Infinity,
      retryWait: () => sleep(20 + random(300)),
      shouldRetry: () => true,
      on: { opened: (socket) => (this.socket = socket) },
    });
    this.first = new Promise((resolve) => {
      follow(this.client, BoardChangedDocument, 'boardChanged', { project }, {
        frame: (frame) => {
          if (frame.resync) this.resyncs += 1;
          // What was known is told again only as part of a whole board.
          for (const card of frame.snapshot ? [] : frame.cards) {
            const known = this.board.cards.get(card.id);
            assert.ok(!known || known.version < card.version, `${card.id}: version ${known?.version}, then ${card.version}`);
          }
          this.board = foldBoard(this.board, frame);
          this.frames += 1;
          resolve();
          this.waits?.();
        },
        end: (error) => {
          console.error('a subscription ended:', error);
          process.exit(1);
        },
      });
    });
  }

  /** Settles once the card is on this board; fails after a minute. */
  async has(card) {
    const late = setTimer(() => assert.fail(`nobody told of ${card}`), 60_000);
    while (!this.board.cards.has(card)) await new Promise((resolve) => (this.waits = resolve));
    clearTimeout(late);
  }
}

/** A command, again and again under the same key until it is answered. */
async function command(path, body) {
  const headers = { ...authorization, 'content-type': 'application/json', 'idempotency-key': randomUUID() };
  for (;;) {
    try {
      const answer = await fetch(`${base}${path}`, { method: 'POST', headers, body: JSON.stringify(body), signal: AbortSignal.timeout(5000) });
      const text = await answer.json();
      if (answer.status < 500 && answer.status !== 429) return text;
    } catch {
      // Whoever is down now comes back.
    }
    await sleep(50);
  }
}

const plain = (board) => lanesOf(board).map(({ key, cards }) => ({ key, cards: cards.map(({ id, version }) => ({ id, version })) }));

let going = true;
let answered = 0;
const lanes = ['backlog', 'ready', 'review', 'done'];
async function work() {
  const cards = [];
  let done = 0;
  for (; going; done += 1) {
    const of = (card, verb, body = {}) => command(`/v1/projects/${project}/cards/${card}/${verb}`, body);
    if (cards.length < 5 || random(4) === 0) cards.push((await command(`/v1/projects/${project}/cards`, { title: `Card ${done}` })).id);
    else if (random(8) === 0) await of(cards.splice(random(cards.length), 1)[0], 'archive');
    else await of(cards[random(cards.length)], 'move', { lane: lanes[random(lanes.length)] });
    if (++answered % 25 === 0) console.log('worked');
    await sleep(random(30));
  }
  return done;
}

const subscribers = Array.from({ length: SUBSCRIBERS }, () => new Subscriber());
await Promise.all(subscribers.map((subscriber) => subscriber.first));
console.log('ready');
const workers = [work(), work()];
let cuts = 0;
const cutting = (async () => {
  while (cuts < CUTS) {
    const { socket } = subscribers[random(SUBSCRIBERS)];
    if (socket?.readyState === WebSocket.OPEN) {
      socket.terminate();
      cuts += 1;
    }
    await sleep(random(10));
  }
})();
// At any moment what somebody has is the board as of their cursor, by another fold than the one that made the frames.
let checks = 0;
const checking = (async () => {
  for (; going; await sleep(50)) {
    const { board } = subscribers[random(SUBSCRIBERS)];
    const lanes = await truth({ asOf: board.cursor });
    if (!lanes) continue;
    assert.deepEqual(plain(board), lanes, `as of ${board.cursor}`);
    checks += 1;
  }
})();
await new Promise((resolve) => createInterface({ input: process.stdin }).once('line', resolve));
await cutting;
going = false;
await checking;
const commands = (await Promise.all(workers)).reduce((a, b) => a + b);
const last = await command(`/v1/projects/${project}/cards`, { title: 'The last one' });

/** The board as the server has it now, or as it folds it from the log as of a cursor; nothing while it is down. */
async function truth(variables) {
  const query = 'query($p: ID!, $at: Cursor, $asOf: Cursor) { board(project: $p, waitFor: $at, asOf: $asOf) { lanes { key cards { id version } } } }';
  const headers = { ...authorization, 'content-type': 'application/json' };
  const body = JSON.stringify({ query, variables: { p: project, ...variables } });
  try {
    const answer = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(5000) });
    return (await answer.json()).data?.board?.lanes;
  } catch {
    return undefined;
  }
}

const wanted = await truth({ at: last.position });
for (const [number, subscriber] of subscribers.entries()) {
  await subscriber.has(last.id);
  assert.deepEqual(plain(subscriber.board), wanted, `subscriber ${number}`);
}
const sum = (of) => subscribers.reduce((all, one) => all + of(one), 0);
console.log(`same ${SUBSCRIBERS} subscribers, ${commands} commands, ${cuts} cuts, ${checks} checks, ${sum((one) => one.frames)} frames, ${sum((one) => one.resyncs)} resyncs`);
process.exit(0);
