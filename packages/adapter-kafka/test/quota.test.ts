// A server with a quota: it answers, and says for how long it wants to be left alone.

import type { AdapterContext } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import { kafkajsConnections } from '../src/kafkajs.ts'
import type { Settings } from '../src/options.ts'
import { playServer } from './played-server.ts'

it('a quota of the server holds no request back for ever', async () => {
  const server = await playServer(3_600_000)
  const settings = {
    tls: async () => null,
    login: async () => null,
    requestTimeoutMs: 1000,
    connectTimeoutMs: 1000,
  } as unknown as Settings
  const clock = {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    timer(ms: number, run: () => void) {
      const timer = setTimeout(run, ms)
      return () => clearTimeout(timer)
    },
  }
  const open = kafkajsConnections(settings, { name: 'test', clock } as unknown as AdapterContext)
  const connection = await open(server.address, new AbortController().signal)
  const beat = () => connection.request('Heartbeat', { groupId: 'g', groupGenerationId: 1, memberId: 'm' })
  expect([(await beat()).errorCode, (await beat()).errorCode]).toEqual([0, 0])
  connection.close()
  await server.stop()
})
