/**
 * A board put together from the frames of `boardChanged`.
 *
 * The state is a value: each frame makes a new one, and what did not change is the same object as before, so that a page
 * redraws only what is new.
 */
import type { BoardChangedSubscription, BoardProjectFragment, CardOnBoardFragment } from './operations.js';

export type BoardChange = BoardChangedSubscription['boardChanged'];

export interface BoardState {
  /** How far it goes: the cursor of the last frame. */
  readonly cursor: string;
  readonly project: BoardProjectFragment;
  /** The cards by id, in no order. */
  readonly cards: ReadonlyMap<string, CardOnBoardFragment>;
}

/**
 * The board after a frame. A frame with a snapshot stands for itself: the first one, and each that says `resync`.
 *
 * @throws when the first frame has no snapshot: a subscription that begins with `since` goes on with the state of that cursor.
 */
export function foldBoard(board: BoardState | undefined, frame: BoardChange): BoardState {
  if (frame.snapshot) {
    const cards = frame.snapshot.lanes.flatMap((lane) => lane.cards);
    return { cursor: frame.cursor, project: frame.snapshot.project, cards: new Map(cards.map((card) => [card.id, card])) };
  }
  if (!board) throw new Error('the first frame must hold a snapshot: subscribe without `since`');
  const cards = new Map(board.cards);
  for (const card of frame.cards) cards.set(card.id, card);
  for (const id of frame.removed) cards.delete(id);
  return { cursor: frame.cursor, project: frame.project ?? board.project, cards };
}

/**
 * The lanes in order, with their cards from the top. A card whose lane has gone is shown in a lane of its own, behind the
 * others: it is not lost.
 */
export function lanesOf(board: BoardState): { key: string; name: string; cards: CardOnBoardFragment[] }[] {
  const lanes = board.project.lanes.map(({ key, name }) => ({ key, name, cards: [] as CardOnBoardFragment[] }));
  for (const card of [...board.cards.values()].sort(byPlace)) {
    let lane = lanes.find((lane) => lane.key === card.lane);
    if (!lane) lanes.push((lane = { key: card.lane, name: card.lane, cards: [] }));
    lane.cards.push(card);
  }
  return lanes;
}

/** The byte order of ranks, which are ASCII, and of ids where ranks are equal. Never `localeCompare`. */
function byPlace(a: CardOnBoardFragment, b: CardOnBoardFragment): number {
  return compare(a.rank, b.rank) || compare(a.id, b.id);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
