// A way to a server that a live test of an adapter can cut, silence, or whose answers it can drop. The suite's own proxy plays faults by
// what passes; here the test says when.

import { createServer, type Socket, connect as tcp } from 'node:net'

/** A way to the server. */
export interface Relay {
  readonly url: string
  /** Answers vanish; what was asked is done. */
  dropAnswers: boolean
  /** Nothing goes either way; the connections stay open. */
  silent: boolean
  /** Ends every connection. */
  cut(): void
  close(): Promise<void>
}

/** Of one connection: takes what the client sends and gives on what it wants; `end` ends the connection. */
export type Passing = (on: (bytes: Uint8Array) => void, end: () => void) => (bytes: Buffer) => void

const asItCame: Passing = (on) => on

/** Opens a way to the server on this port of this machine. `passing` may look at what clients send, and hold it. */
export async function relay(scheme: string, port: number, passing: Passing = asItCame): Promise<Relay> {
  const sockets = new Set<Socket>()
  const state = { dropAnswers: false, silent: false }
  const server = createServer((down) => {
    const up = tcp(port, '127.0.0.1')
    for (const each of [down, up]) {
      sockets.add(each)
      each.on('error', () => {})
      each.on('close', () => {
        sockets.delete(each)
        down.destroy()
        up.destroy()
      })
    }
    const pass = passing(
      (bytes) => void up.write(bytes),
      () => down.destroy(),
    )
    down.on('data', (bytes) => {
      if (!state.silent) pass(bytes)
    })
    up.on('data', (bytes) => {
      if (!state.silent && !state.dropAnswers) down.write(bytes)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const cut = (): void => {
    for (const each of [...sockets]) each.destroy()
  }
  return Object.assign(state, {
    url: `${scheme}://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    cut,
    async close() {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}
