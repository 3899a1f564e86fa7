// A terminal, or a pipe, that remembers what was written to it.

import type { Surroundings } from 'posthorn'

export interface Terminal {
  readonly io: Surroundings
  readonly stdout: string
  readonly stderr: string
}

/** Surroundings of one run; `connect` fails where it is not given, so that what must not connect is seen to. */
export function terminal(given: Partial<Surroundings> & { readonly columns?: number } = {}): Terminal {
  const { columns, ...rest } = given
  const written = { stdout: '', stderr: '' }
  const to = (name: keyof typeof written): Surroundings['stdout'] => ({
    columns,
    write(text) {
      written[name] += text
      return undefined
    },
  })
  return {
    io: {
      stdout: to('stdout'),
      stderr: to('stderr'),
      ask: undefined,
      interrupted: new AbortController().signal,
      now: () => Date.parse('2026-11-22T12:00:00Z'),
      connect: () => Promise.reject(new Error('it connected')),
      ...rest,
    },
    get stdout() {
      return written.stdout
    },
    get stderr() {
      return written.stderr
    },
  }
}
