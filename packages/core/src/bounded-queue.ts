// Clients push, core pulls. Between them a queue whose bound is a signal to stop the client, never a reason to drop.

export interface BoundedQueueOptions<T> {
  /** From this many on the queue is full. */
  readonly maxItems: number
  /** From this many bytes on the queue is full. @default no bound */
  readonly maxBytes?: number | undefined
  /** Bytes of one item; needed for `maxBytes`. */
  readonly bytesOf?: ((item: T) => number) | undefined
  /** Called once after the queue was full, when it has fallen to half its bounds: let the client go on. Not called after `close`. */
  readonly onRoom?: (() => void) | undefined
}

/** First in, first out, from a client that pushes batches to a reader that pulls them. */
export interface BoundedQueue<T> {
  /**
   * Appends everything, also beyond the bound, because what a server handed over must not vanish. Answers whether there
   * is room for more: on false, stop the client until `onRoom`. After `close` nothing is taken in, and the answer is false.
   */
  push(items: readonly T[]): boolean
  /**
   * The next items in order, at least one, at most `max`: at once if there are some, else as soon as there are. Empty only
   * after `close`. One call may be open at a time; a second one rejects.
   */
  pull(max: number): Promise<T[]>
  readonly full: boolean
  readonly size: number
  readonly bytes: number
  /** Ends it: an open pull and all later ones get nothing. Returns what was still queued, to be given back to the server. */
  close(): T[]
}

/** Makes an empty queue. */
export function createBoundedQueue<T>(options: BoundedQueueOptions<T>): BoundedQueue<T> {
  const { maxItems, onRoom } = options
  const maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY
  const bytesOf = options.bytesOf ?? (() => 0)
  let items: T[] = []
  let head = 0
  let bytes = 0
  let full = false
  let closed = false
  let open: { readonly max: number; readonly resolve: (items: T[]) => void } | null = null

  const size = (): number => items.length - head

  function shift(max: number): T[] {
    const until = Math.min(items.length, head + Math.max(1, max))
    const taken = head === 0 && until === items.length ? items : items.slice(head, until)
    for (const item of taken) bytes -= bytesOf(item)
    head = until
    if (head === items.length) {
      items = []
      head = 0
    } else if (head >= 512 && head * 2 >= items.length) {
      items = items.slice(head)
      head = 0
    }
    if (full && size() * 2 <= maxItems && (size() === 0 || bytes * 2 <= maxBytes)) {
      full = false
      onRoom?.()
    }
    return taken
  }

  return {
    push(batch) {
      if (closed) return false
      for (const item of batch) {
        items.push(item)
        bytes += bytesOf(item)
      }
      full = full || size() >= maxItems || bytes >= maxBytes
      if (open !== null && size() > 0) {
        const { max, resolve } = open
        open = null
        resolve(shift(max))
      }
      return !full
    },
    pull(max) {
      if (open !== null) return Promise.reject(new Error('a pull of this queue is open already'))
      if (closed) return Promise.resolve([])
      if (size() > 0) return Promise.resolve(shift(max))
      return new Promise((resolve) => {
        open = { max, resolve }
      })
    },
    get full() {
      return full
    },
    get size() {
      return size()
    },
    get bytes() {
      return bytes
    },
    close() {
      closed = true
      const left = items.slice(head)
      items = []
      head = 0
      bytes = 0
      full = false
      open?.resolve([])
      open = null
      return left
    },
  }
}
