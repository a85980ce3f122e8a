/**
 * Follows a subscription over an unmodified `graphql-ws` client, through every interruption.
 *
 * `graphql-ws` connects again by itself and sends each running subscription again with the variables *object* that it was
 * given. That object is kept here and its `since` moved with each frame, so what is sent after an interruption names the
 * last frame that was seen: the server goes on exactly behind it, on whichever instance answers.
 */
import { print, type DocumentNode } from 'graphql';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import type { Client } from 'graphql-ws';

/** A failure that GraphQL reports; `code` is stable. */
export class OperationError extends Error {
  constructor(
    message: string,
    readonly code: string | undefined,
  ) {
    super(message);
  }
}

export interface Sink<Frame> {
  frame(frame: Frame): void;
  /** The subscription has ended: with an error, or because nothing more will come. */
  end?(error?: unknown): void;
}

/** Where the followed thing was, when it is gone on with: the cursor of a frame. */
type Since = { since?: string | null };

/**
 * Follows `field` of a subscription. Answers a function that stops it.
 *
 * A cursor that the server does not know (`cursor_invalid`: the log was restored from a backup) is dropped, and the
 * subscription begins anew with a whole frame.
 */
export function follow<Result, Variables extends Since, Field extends keyof Result>(
  client: Client,
  document: TypedDocumentNode<Result, Variables>,
  field: Field,
  variables: Variables,
  sink: Sink<Result[Field]>,
): () => void {
  const sent: Variables = { ...variables };
  const query = print(document as DocumentNode);
  let stop = () => {};
  let stopped = false;
  const start = () => {
    stop = client.subscribe<Result>(
      { query, variables: sent as Record<string, unknown> },
      {
        next(answer) {
          const error = answer.errors?.[0];
          if (error) {
            const code = error.extensions?.['code'] as string | undefined;
            stop();
            if (code === 'cursor_invalid' && sent.since) {
              delete sent.since;
              start();
            } else {
              finish(new OperationError(error.message, code));
            }
            return;
          }
          const frame = answer.data?.[field];
          if (frame === undefined || frame === null) return;
          // Told first: a frame that the page could not take in must come again.
          sink.frame(frame);
          sent.since = (frame as unknown as { cursor: string }).cursor;
        },
        error: finish,
        complete: () => finish(),
      },
    );
  };
  const finish = (error?: unknown) => {
    if (stopped) return;
    stopped = true;
    sink.end?.(error);
  };
  start();
  return () => {
    stopped = true;
    stop();
  };
}
