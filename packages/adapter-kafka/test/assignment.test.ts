// What a partition tells of a batch that cannot be read: nothing, as long as something before it is not settled.

import { expect, it } from 'vitest'
import { type Host, Owned } from '../src/assignment.ts'
import type { RawRecord } from '../src/decode.ts'

function owned(told: unknown[]): Owned {
  const nothing = (): void => {}
  const settled = (): Promise<'settled'> => Promise.resolve('settled')
  const host: Host = {
    topic: 't',
    role: 'main',
    partition: 0,
    source: 't',
    topicId: '',
    maxUnsettled: 10,
    maxBytes: 1000,
    atomic: false,
    aliveUntil: () => 0,
    hungry: nothing,
    commit: settled,
    note: nothing,
    forward: settled,
    flush: async () => {},
    spoiled: nothing,
    outOfRange: nothing,
    gone: nothing,
    refused: nothing,
    unreadable: (error) => void told.push(error),
    over: nothing,
  }
  return new Owned(host, { offset: 0, metadata: '' })
}

/** Neither key nor body nor headers. */
const record: RawRecord = {
  buffer: Buffer.from([0]),
  offset: 0,
  keyAt: 0,
  keyLength: -1,
  valueAt: 0,
  valueLength: -1,
  headersAt: 0,
  end: 1,
}

it('a batch that cannot be read is told when all before it is settled, and not while it waits or is handled', async () => {
  const told: unknown[] = []
  const one = owned(told)
  const error = new Error('the batch at offset 1')
  one.take([record], 1, 100)
  one.unreadable(error)
  const [delivery] = await one.read(10)
  one.unreadable(error)
  const settling = one.settle([delivery?.token])
  one.unreadable(error)
  expect(told).toEqual([])
  expect(await settling).toBe('settled')
  one.unreadable(error)
  expect(told).toEqual([error])
})
