// Words of a connection that come back on the control connection. They prove that what the connection said before has reached the
// server, and that the server still took it for the owner of its session; and they are not held up by messages that are on their way
// to this connection, of which some servers send more than they were asked for.

import type { Clock } from '@posthorn/core/adapter'
import { topicBytes } from './encode.ts'
import { echoTopic } from './layout.ts'
import type { Wire } from './wire.ts'

/** What one connection has proven. */
export interface Prover {
  /** When the latest answered question was asked, monotonic. */
  readonly proof: number
  /** Since when a question waits for its answer; null: none does. */
  readonly askedAt: number | null
  /** Asks. Resolves with true when everything said before has surely arrived, with false when that will not be known. */
  confirm(): Promise<boolean>
  /** The connection is over. */
  stop(): void
}

export interface Echoes {
  /** The topic on which they come back: the control connection is subscribed to it. */
  readonly topic: string
  prover(wire: Wire, sentAt: number): Prover
  /** One came back. */
  heard(payload: Uint8Array): void
  /** The control connection is back: what was asked while it was away is asked again. */
  again(): void
}

interface Waiting {
  readonly nth: number
  readonly at: number
  readonly resolve: (known: boolean) => void
}

/** Makes the echoes of one control connection; `up` says whether it is there. */
export function createEchoes(clock: Clock, id: string, up: () => boolean): Echoes {
  const topic = echoTopic(id)
  const bytes = topicBytes(topic)
  const listeners = new Map<number, (nth: number) => void>()
  const again = new Set<() => void>()
  let provers = 0

  return {
    topic,
    prover(wire, sentAt) {
      const number = ++provers
      let proof = sentAt
      let asked = 0
      let waiting: Waiting[] = []
      let scheduled = false
      let over = false

      function answered(nth: number): void {
        let count = 0
        for (const each of waiting) {
          if (each.nth > nth) break
          if (each.at > proof) proof = each.at
          count++
          each.resolve(true)
        }
        if (count > 0) waiting = waiting.slice(count)
      }

      // One question for everything of a turn.
      function ask(): void {
        scheduled = false
        if (over) return
        const nth = asked
        wire.post(bytes, Buffer.from(`${number}:${nth}`))
        // Without the control connection there is the connection's own round trip, behind all that is on its way.
        if (!up())
          wire.ping().then(
            () => answered(nth),
            () => {},
          )
      }

      listeners.set(number, answered)
      const repeat = (): void => {
        if (waiting.length > 0) ask()
      }
      again.add(repeat)
      return {
        get proof() {
          return proof
        },
        get askedAt() {
          return waiting[0]?.at ?? null
        },
        confirm() {
          if (over || !wire.open) return Promise.resolve(false)
          if (!scheduled) {
            scheduled = true
            asked++
            queueMicrotask(ask)
          }
          const nth = asked
          return new Promise((resolve) => void waiting.push({ nth, at: clock.monotonic(), resolve }))
        },
        stop() {
          if (over) return
          over = true
          listeners.delete(number)
          again.delete(repeat)
          const left = waiting
          waiting = []
          for (const each of left) each.resolve(false)
        },
      }
    },
    heard(payload) {
      const [number, nth] = Buffer.from(payload).toString('latin1').split(':')
      listeners.get(Number(number))?.(Number(nth))
    },
    again() {
      for (const each of again) each()
    },
  }
}
