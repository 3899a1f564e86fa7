import type { Surroundings } from './surroundings.ts'

const everyMs = 1000

/** Tells how far a long operation is, at most once a second; on a terminal in one line that is rewritten. */
export function createProgress(io: Pick<Surroundings, 'stderr' | 'now'>, words: (count: number) => string): Progress {
  let toldAt = io.now()
  let open = false
  return {
    tell(count) {
      if (io.now() - toldAt < everyMs) return
      toldAt = io.now()
      const terminal = io.stderr.columns !== undefined
      io.stderr.write(terminal ? `\r${words(count)}` : `${words(count)}\n`)
      open = terminal
    },
    end() {
      if (open) io.stderr.write('\n')
      open = false
    },
  }
}

/** Fed with counts; `end` before anything else is written. */
export interface Progress {
  tell(count: number): void
  end(): void
}

/** `1 dead letter`, `3 dead letters`. */
export const counted = (count: number): string => `${count} dead letter${count === 1 ? '' : 's'}`
