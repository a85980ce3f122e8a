// Clients of `boardChanged`, `cardChanged` and `runProgress`, with unmodified graphql-ws and the reference client's folds.
// Each has a socket of its own, comes back to any of the instances, and fails the test with the first frame that is wrong.
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { BoardChangedDocument, CardChangedDocument, RunProgressDocument } from '../dist/index.js';
import { foldBoard, foldCard, foldRun, follow, lanesOf } from '../dist/index.js';
import { authorization, project, token } from './server.mjs';

// Where questions are answered: any instance will do.
const instances = (process.env.AW_QUERIES ?? process.env.AW_URL).split(',');
export const random = (n) => Math.floor(Math.random() * n);
const anyInstance = () => `${instances[random(instances.length)]}/graphql`;
/** How long the last frame may take, once nothing is killed any more. */
const PATIENCE = 60_000;

/** Says what is wrong, and that is the end: thrown inside a client, an error might be taken for a bad connection. */
export function fail(error) {
  console.error(error);
  process.exit(1);
}

/** A question; nothing while nobody can answer it. */
export async function ask(query, variables) {
  const headers = { ...authorization, 'content-type': 'application/json' };
  const body = JSON.stringify({ query, variables });
  try {
    const answer = await fetch(anyInstance(), { method: 'POST', headers, body, signal: AbortSignal.timeout(15_000) });
    return (await answer.json()).data;
  } catch {
    return undefined;
  }
}

/** Partition and position of a cursor. To a client a cursor says nothing; here it must not go back. */
const place = (cursor) => /^p([^z]+)z(.+)$/.exec(cursor).slice(1).map((number) => parseInt(number, 36));
const backwards = (from, to) => to[0] !== from[0] || to[1] < from[1];

const ON_BOARD = 'id lane rank title blockedReason activeRunId agent { name model } lastRun { id result failure } version';
const BOARD = `query($p: ID!, $asOf: Cursor) { board(project: $p, asOf: $asOf) { lanes { key cards { ${ON_BOARD} } } } }`;
const CARD = `query($card: ID!) {
  card(id: $card) { id title description lane blockedReason activeRunId archived version }
  cardHistory(card: $card, last: 200) { edges { node { id kind summary text erased actor occurredAt run attempt } } } }`;
const RUN = `query($run: ID!) { run(id: $run) {
  id state ended attempt title branch model failure reason queuedAt startedAt endedAt modelCalls tokens { input output cacheRead cacheWrite }
  outcome { commit summary filesChanged } steps { attempt number kind title detail ok durationMs } } }`;

const lanes = (board) => board?.lanes.map(({ key, cards }) => ({ key, cards }));

/**
 * What can be followed. `fold` makes the state, `told` says what of a frame the state must not hold yet, `plain` is what of
 * the state must equal what `truth` is answered, and `agrees` holds a state against the board as of its cursor.
 */
export const KINDS = {
  board: {
    document: BoardChangedDocument,
    field: 'boardChanged',
    fold: foldBoard,
    // What was known is told again only as part of a whole board.
    stale: (state, frame) =>
      frame.snapshot ? [] : frame.cards.filter((card) => state.cards.get(card.id)?.version >= card.version),
    plain: (state) => lanesOf(state).map(({ key, cards }) => ({ key, cards })),
    truth: async ({ project }) => lanes((await ask(BOARD, { p: project }))?.board),
    // Whether a card is blocked and what its last run was is shown as it is now.
    asOf: (state, board) => [versions(lanesOf(state)), versions(board.lanes)],
  },
  card: {
    document: CardChangedDocument,
    field: 'cardChanged',
    fold: foldCard,
    stale: (state, frame) => {
      const known = new Set(frame.whole ? [] : state.entries.map(({ id }) => id));
      return [...frame.entries.filter(({ id }) => known.has(id)), ...(frame.card.version < state.card.version ? [frame.card] : [])];
    },
    plain: ({ card, entries }) => ({ card, entries: entries.slice(-200) }),
    truth: async ({ card }) => {
      const data = await ask(CARD, { card });
      return data?.card && { card: data.card, entries: data.cardHistory.edges.map(({ node }) => node) };
    },
    // The cursor is that of the hindmost of two read models; a card, from the other one, that is further on has no match.
    asOf: ({ card }, board) => {
      const then = board.lanes.flatMap(({ cards }) => cards).find(({ id }) => id === card.id);
      return card.version > then?.version ? [true, true] : [onBoard(card), then && onBoard(then)];
    },
  },
  run: {
    document: RunProgressDocument,
    field: 'runProgress',
    fold: foldRun,
    stale: (state, frame) => {
      const known = new Set(state.steps.map(({ attempt, number }) => `${attempt}/${number}`));
      return frame.newSteps.filter(({ attempt, number }) => known.has(`${attempt}/${number}`));
    },
    plain: ({ run, steps }) => ({ ...run, steps }),
    truth: async ({ run }) => (await ask(RUN, { run }))?.run,
  },
};
const onBoard = ({ id, title, lane, version }) => ({ id, title, lane, version });
const versions = (lanes) => lanes.map(({ key, cards }) => ({ key, cards: cards.map(({ id, version }) => ({ id, version })) }));

/** The board of the project as the server folds it from the log; nothing while nobody can answer. */
export const boardAsOf = async (cursor) => (await ask(BOARD, { p: project, asOf: cursor }))?.board;

export class Follower {
  frames = 0;
  resyncs = 0;
  constructor(kind) {
    this.kind = kind;
    this.client = createClient({
      url: () => anyInstance().replace(/^http/, 'ws'),
      webSocketImpl: WebSocket,
      connectionParams: { token },
      retryAttempts: Infinity,
      retryWait: () => sleep(20 + random(300)),
      shouldRetry: () => true,
      on: { opened: (socket) => (this.socket = socket) },
    });
  }

  /** Follows this from now on: `begun` settles with the first frame, `over` when there will be no more. */
  follow(variables) {
    const { document, field } = KINDS[this.kind];
    [this.variables, this.state] = [variables, undefined];
    let over;
    this.over = new Promise((resolve) => (over = resolve));
    this.begun = new Promise((resolve) => {
      const frame = (frame) => {
        try {
          this.take(frame);
        } catch (error) {
          fail(error);
        }
        resolve();
      };
      const end = (error) => (error ? fail(['a subscription ended', variables, error]) : over());
      follow(this.client, document, field, variables, { frame, end });
    });
  }

  take(frame) {
    const { fold, stale } = KINDS[this.kind];
    if (this.state) {
      const [from, to] = [this.state.cursor, frame.cursor];
      assert.ok(!backwards(place(from), place(to)), `${this.kind}: a frame of ${to} after that of ${from}`);
      assert.deepEqual(stale(this.state, frame), [], `${this.kind}: told after ${from}, at ${to}`);
    }
    this.state = fold(this.state, frame);
    this.frames += 1;
    if (frame.resync) this.resyncs += 1;
  }

  /** Cuts it off; whether there was anything to cut. */
  cut() {
    const open = this.socket?.readyState === WebSocket.OPEN;
    if (open) this.socket.terminate();
    return open;
  }

  /** What is known here and what the server says was known then, of the same; nothing when that cannot be asked. */
  async compareAsOf() {
    const { state } = this;
    const board = state && (await boardAsOf(state.cursor));
    if (!board) return false;
    const [here, there] = KINDS[this.kind].asOf(state, board);
    assert.deepEqual(here, there, `${this.kind} as of ${state.cursor}`);
    return true;
  }
}

/** Settles once all of them, who follow the same, have what the server has; fails when that takes too long. */
export async function agree(followers) {
  const [{ kind, variables }] = followers;
  const { plain, truth } = KINDS[kind];
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const wanted = await truth(variables);
    const other = followers.find(({ state }) => !wanted || !isDeepStrictEqual(plain(state), wanted));
    if (!other) return;
    if (wanted && Date.now() > deadline) assert.deepEqual(plain(other.state), wanted, `${kind} at ${other.state.cursor}`);
    await sleep(100);
  }
}
