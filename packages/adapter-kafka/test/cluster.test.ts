// A cluster whose links are played, with a clock that a test moves.

import type { AdapterContext } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import type { Connection } from '../src/client.ts'
import { openCluster } from '../src/cluster.ts'
import type { Settings } from '../src/options.ts'

function movedClock() {
  let now = 0
  const timers = new Set<{ readonly at: number; readonly run: () => void }>()
  return {
    now: () => now,
    monotonic: () => now,
    timer(ms: number, run: () => void) {
      const timer = { at: now + ms, run }
      timers.add(timer)
      return () => void timers.delete(timer)
    },
    async move(ms: number) {
      for (const end = now + ms; now < end; now += 50) {
        for (const timer of [...timers]) {
          if (timer.at > now || !timers.delete(timer)) continue
          timer.run()
        }
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
  }
}

it('a try to reconnect over a way that is silent still is given up soon, and the next one gets through', async () => {
  const clock = movedClock()
  const states: string[] = []
  const opened: number[] = []
  const links: AbortController[] = []
  let silent = false
  const open = async (_address: unknown, signal: AbortSignal): Promise<Connection> => {
    opened.push(clock.now())
    if (silent) {
      return await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('given up')), { once: true }))
    }
    const lost = new AbortController()
    links.push(lost)
    return {
      lost: lost.signal,
      close: () => lost.abort(new Error('closed')),
      takes: () => false,
      request: async () => ({ brokers: [{ nodeId: 1, host: 'h', port: 1 }], controllerId: 1, topicMetadata: [] }),
      raw: async () => Buffer.alloc(0),
    } as unknown as Connection
  }
  const context = { clock, random: () => 0, report: (state: string) => void states.push(state) } as unknown as AdapterContext
  const settings = {
    seeds: [{ host: 'h', port: 1 }],
    reach: (address: unknown) => address,
    requestTimeoutMs: 5000,
    connectTimeoutMs: 5000,
  } as unknown as Settings
  const cluster = await openCluster(settings, context, open, new AbortController().signal)
  silent = true
  links[0]?.abort(new Error('silent'))
  await clock.move(500)
  expect([states.at(-1), opened.length]).toEqual(['recovering', 2])
  silent = false
  await clock.move(2000)
  expect(states.at(-1)).toBe('connected')
  expect(opened.length).toBe(3)
  cluster.close()
})
