/** A card and its history put together from the frames of `cardChanged`. */
import type { CardChangedSubscription } from './operations.js';

export type CardChange = CardChangedSubscription['cardChanged'];

export interface CardState {
  readonly cursor: string;
  readonly card: CardChange['card'];
  /** What happened, in order. What stands before the first of them is read with `cardHistory`. */
  readonly entries: readonly CardChange['entries'][number][];
}

/** The card after a frame. One that is `whole` stands for itself. */
export function foldCard(state: CardState | undefined, frame: CardChange): CardState {
  const before = frame.whole ? [] : (state?.entries ?? []);
  return { cursor: frame.cursor, card: frame.card, entries: [...before, ...frame.entries] };
}
