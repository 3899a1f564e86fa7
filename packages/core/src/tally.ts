interface Span {
  open: number
  waiting: (() => void)[] | null
}

/**
 * Counts what is open and tells when everything begun so far has ended, however much begins meanwhile. Costs one number
 * per piece of work: pieces are counted per span of time between two flushes, not remembered one by one.
 */
export interface Tally {
  /** Begun and not ended. */
  readonly open: number
  /** Counts one more; hand what it returns to `end`, once. */
  begin(): TallySpan
  end(span: TallySpan): void
  /** Resolves when everything begun before this call has ended. */
  flush(): Promise<void>
}
/** When a piece of work began, as `Tally` sees it. */
export type TallySpan = Span

/** Makes a tally that counts nothing yet. */
export function createTally(): Tally {
  let open = 0
  let current: Span = { open: 0, waiting: null }
  const unfinished = new Set<Span>()

  return {
    get open() {
      return open
    },
    begin() {
      open++
      current.open++
      return current
    },
    end(span) {
      open--
      span.open--
      if (span.open > 0 || span.waiting === null) return
      unfinished.delete(span)
      for (const wake of span.waiting) wake()
    },
    async flush() {
      if (current.open > 0) {
        current.waiting = []
        unfinished.add(current)
        current = { open: 0, waiting: null }
      }
      await Promise.all([...unfinished].map((span) => new Promise<void>((resolve) => span.waiting?.push(resolve))))
    },
  }
}
