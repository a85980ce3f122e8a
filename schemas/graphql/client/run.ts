/** A run put together from the frames of `runProgress`. */
import type { RunProgressSubscription } from './operations.js';

export type RunChange = RunProgressSubscription['runProgress'];

export interface RunProgressState {
  readonly cursor: string;
  readonly run: RunChange['run'];
  /** What its agents did, in order. */
  readonly steps: readonly RunChange['newSteps'][number][];
}

/** The run after a frame. */
export function foldRun(state: RunProgressState | undefined, frame: RunChange): RunProgressState {
  return { cursor: frame.cursor, run: frame.run, steps: [...(state?.steps ?? []), ...frame.newSteps] };
}
