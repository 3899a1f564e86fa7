// A subscription against a cluster that is played: what no real server does on demand.

import type { AdapterContext, Source } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import type { Cluster } from '../src/cluster.ts'
import { type Subscribing, subscribeGroup } from '../src/subscribe.ts'

const source: Source = {
  topic: 't',
  kind: 'group',
  group: 'workers',
  keyed: true,
  settleFirst: false,
  atomic: false,
  handOverMs: 1000,
  maxUnsettled: 10,
  maxBytes: 100_000,
  native: undefined,
}

it('a subscription that is given up while its topics are looked for joins nothing: a ghost would own partitions that nobody reads', async () => {
  const given = new AbortController()
  const asked: string[] = []
  const context = { random: () => 0, clock: { monotonic: () => 0, timer: () => () => {} } } as unknown as AdapterContext
  const cluster = {
    settings: { handOverMs: 1000, sessionTimeoutMs: 1000, requestTimeoutMs: 1000 },
    context,
    known: () => null,
    async lookAll(topics: readonly string[]) {
      given.abort()
      return new Map(topics.map((topic) => [topic, { leaders: [1], replicas: 1, id: '' }]))
    },
    async coordinator(key: string) {
      asked.push(key)
      return await new Promise(() => {})
    },
  } as unknown as Cluster
  const on = {
    cluster,
    context,
    number: 1,
    nativeOf: () => undefined,
    topicAt: ({ topic, role }: { readonly topic: string; readonly role: string }) => `${topic}.${role}`,
    declareAgain: async () => false,
    enter: () => void asked.push('enter'),
    leave() {},
  } as unknown as Subscribing
  await expect(subscribeGroup(on, source, given.signal)).rejects.toThrow('given up')
  expect(asked).toEqual([])
})
