// A producer and a consumer of one session are neighbours: what one of them is sending, the other asks for in the same breath.
// The server stores it and hands it over in one go then, with one write to its disk, instead of waking whoever waits and being
// asked by him afterwards. What others send is heard of through the waiter, as ever.

/** Tells readers what their own session sends to the streams that they read. */
export interface Neighbours {
  /** Is there any reader? */
  readonly any: boolean
  /** Calls `ask` whenever this session has just sent something to the stream, until the function that it returns is called. */
  listen(stream: string, ask: () => void): () => void
  /** Something for the stream has left, and what is sent now comes right behind it. */
  sent(stream: string): void
}

/** Makes one that has no readers yet. */
export function createNeighbours(): Neighbours {
  const readers = new Map<string, Set<() => void>>()
  return {
    get any() {
      return readers.size > 0
    },
    listen(stream, ask) {
      const known = readers.get(stream) ?? new Set()
      readers.set(stream, known)
      known.add(ask)
      return () => {
        known.delete(ask)
        if (known.size === 0 && readers.get(stream) === known) readers.delete(stream)
      }
    },
    sent(stream) {
      const asks = readers.get(stream)
      if (asks !== undefined) for (const ask of [...asks]) ask()
    },
  }
}
