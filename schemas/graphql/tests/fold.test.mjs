// The folds of the reference client, without a server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { foldBoard, foldCard, foldRun, follow, lanesOf } from '../dist/index.js';
import { BoardChangedDocument } from '../dist/index.js';

const card = (id, lane, rank, more = {}) => ({ id, lane, rank, title: id, version: 1, ...more });
const project = { id: 'prj_1', name: 'P', archived: false, lanes: [{ key: 'a', name: 'A' }, { key: 'b', name: 'B' }] };
const first = {
  cursor: '1',
  snapshot: { project, lanes: [{ key: 'a', cards: [card('1', 'a', 'm'), card('2', 'a', 'B')] }, { key: 'b', cards: [] }] },
  cards: [],
  removed: [],
};
const places = (board) => lanesOf(board).map((lane) => [lane.key, lane.cards.map((card) => card.id)]);

test('a board follows its frames, and leaves the one before as it was', () => {
  const board = foldBoard(undefined, first);
  // The order of bytes, not of a language: B before m.
  assert.deepEqual(places(board), [['a', ['2', '1']], ['b', []]]);
  const next = foldBoard(board, { cursor: '2', cards: [card('1', 'b', 'm'), card('3', 'a', 'B')], removed: ['2'] });
  assert.deepEqual(places(next), [['a', ['3']], ['b', ['1']]]);
  assert.equal(next.cursor, '2');
  assert.deepEqual(places(board), [['a', ['2', '1']], ['b', []]]);
  const lanes = foldBoard(next, { cursor: '3', cards: [], removed: [], project: { ...project, lanes: [project.lanes[1]] } });
  assert.deepEqual(places(lanes), [['b', ['1']], ['a', ['3']]]);
  const again = foldBoard(lanes, { ...first, cursor: '9', resync: 'CLIENT_TOO_SLOW' });
  assert.deepEqual([places(again), again.cursor], [places(board), '9']);
  assert.throws(() => foldBoard(undefined, { cursor: '2', cards: [], removed: [] }), /snapshot/);
});

test('what happened to a card adds up, until a frame is whole', () => {
  const frame = (cursor, ids, whole = false) => ({ cursor, card: { lane: cursor }, entries: ids.map((id) => ({ id })), whole });
  const one = foldCard(undefined, frame('1', ['a'], true));
  const two = foldCard(one, frame('2', ['b', 'c']));
  assert.deepEqual([two.entries.map(({ id }) => id), two.card.lane, two.cursor], [['a', 'b', 'c'], '2', '2']);
  assert.deepEqual(foldCard(two, frame('9', ['z'], true)).entries, [{ id: 'z' }]);
});

test('steps of a run add up', () => {
  const step = (number) => ({ attempt: 1, number });
  const one = foldRun(undefined, { cursor: '1', run: { state: 'RUNNING' }, newSteps: [step(1)], ended: false });
  const two = foldRun(one, { cursor: '2', run: { state: 'SUCCEEDED' }, newSteps: [step(2), step(3)], ended: true });
  assert.deepEqual([two.steps.length, two.run.state, one.steps.length], [3, 'SUCCEEDED', 1]);
});

test('what is sent again names the last frame, and a cursor that nobody knows is dropped', () => {
  const started = [];
  const client = { subscribe: (payload, sink) => (started.push({ payload, sink }), () => {}) };
  const frames = [];
  follow(client, BoardChangedDocument, 'boardChanged', { project: 'prj_1' }, { frame: (frame) => frames.push(frame.cursor) });
  started[0].sink.next({ data: { boardChanged: { cursor: 'c1' } } });
  assert.equal(started[0].payload.variables.since, 'c1');
  started[0].sink.next({ errors: [{ message: 'x', extensions: { code: 'cursor_invalid' } }] });
  assert.equal(started.length, 2);
  assert.equal(started[1].payload.variables.since, undefined);
  assert.deepEqual(frames, ['c1']);
});
