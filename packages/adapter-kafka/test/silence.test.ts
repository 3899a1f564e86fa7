// How a connection that is dead is told from one that is slow: on real sockets, with a clock that the test moves.

import type { AdapterContext } from '@posthorn/core/adapter'
import { afterEach, expect, it } from 'vitest'
import type { Connection } from '../src/client.ts'
import { kafkajsConnections } from '../src/kafkajs.ts'
import type { Settings } from '../src/options.ts'
import { type PlayedServer, playServer } from './played-server.ts'

const requestTimeoutMs = 1000
const stepMs = 50

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
    /** In small steps, as real timers would see it. */
    to(end: number) {
      while (now < end) {
        now = Math.min(end, now + stepMs)
        for (const timer of [...timers]) if (timer.at <= now && timers.delete(timer)) timer.run()
      }
    },
    /** All at once: the process stood still. */
    jump(end: number) {
      now = end
      for (const timer of [...timers]) if (timer.at <= now && timers.delete(timer)) timer.run()
    },
  }
}

const servers: PlayedServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
})

async function twoConnections(): Promise<{
  readonly clock: ReturnType<typeof movedClock>
  readonly server: PlayedServer
  readonly first: Connection
  readonly second: Connection
}> {
  const clock = movedClock()
  const server = await playServer(0)
  servers.push(server)
  const settings = { tls: async () => null, login: async () => null, requestTimeoutMs, connectTimeoutMs: 60_000 } as unknown as Settings
  const open = kafkajsConnections(settings, { name: 'test', clock } as unknown as AdapterContext)
  const first = await open(server.address, new AbortController().signal)
  const second = await open(server.address, new AbortController().signal)
  return { clock, server, first, second }
}

const beat = (connection: Connection): Promise<unknown> =>
  connection.request('Heartbeat', { groupId: 'g', groupGenerationId: 1, memberId: 'm' })

it('silence of everything is noticed when the time is up, not a tick later', async () => {
  const { clock, server, first, second } = await twoConnections()
  await beat(second)
  server.silent.add(0)
  beat(first).catch(() => {})
  clock.to(requestTimeoutMs - stepMs)
  expect(first.lost.aborted).toBe(false)
  clock.to(requestTimeoutMs)
  expect(first.lost.aborted).toBe(true)
  expect(String(first.lost.reason)).toContain('the server did not answer for 1000 ms')
  second.close()
})

it('while another connection to the same node hears something, as long again passes', async () => {
  const { clock, server, first, second } = await twoConnections()
  server.silent.add(0)
  beat(first).catch(() => {})
  clock.to(800)
  await beat(second)
  clock.to(800 + requestTimeoutMs - stepMs)
  expect(first.lost.aborted).toBe(false)
  clock.to(800 + requestTimeoutMs)
  expect(first.lost.aborted).toBe(true)
  second.close()
})

it('what others hear does not make it wait for ever', async () => {
  const { clock, server, first, second } = await twoConnections()
  server.silent.add(0)
  beat(first).catch(() => {})
  for (let at = 0; at < 2 * requestTimeoutMs; at += 100) {
    clock.to(at)
    await beat(second)
  }
  expect(first.lost.aborted).toBe(false)
  clock.to(2 * requestTimeoutMs)
  expect(first.lost.aborted).toBe(true)
  second.close()
})

it('a process that stood still reads first what came meanwhile', async () => {
  const { clock, first, second } = await twoConnections()
  const answered = beat(first)
  // The answer is there, and was not read.
  clock.jump(10 * requestTimeoutMs)
  await answered
  clock.to(11 * requestTimeoutMs)
  expect(first.lost.aborted).toBe(false)
  first.close()
  second.close()
})
