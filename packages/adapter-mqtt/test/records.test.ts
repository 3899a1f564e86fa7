import { virtualClock } from '@posthorn/core/testing'
import type { IPublishPacket } from 'mqtt'
import { expect, it } from 'vitest'
import { createRecords } from '../src/records.ts'
import type { Wire } from '../src/wire.ts'

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('a folder that takes long to come is read to its end, not to the first ten seconds of it', async () => {
  const clock = virtualClock()
  const wire = { subscribe: async () => {}, store: async () => 0, unsubscribe: async () => {} } as unknown as Wire
  const records = createRecords({
    id: 'unit',
    current: () => wire,
    timer: clock.timer,
    changed: () => {},
    groupGone: () => {},
  })
  const come = (topic: string, payload: string): void =>
    records.take({ topic, payload: Buffer.from(payload), retain: true } as unknown as IPublishPacket)
  const found: string[] = []
  let ended = false
  const reading = records
    .read(['posthorn/dead/email/orders/#'], ({ topic }) => found.push(topic))
    .finally(() => {
      ended = true
    })
  for (let at = 0; at < 5; at++) {
    await settled()
    clock.timer(8000, () => come(`posthorn/dead/email/orders/s${at}/0`, 'x'))
    while (found.length === at && !ended) clock.step()
  }
  come('posthorn/echo/unit~', '1')
  come('posthorn/dead/email/orders/late/0', 'x')
  expect(ended).toBe(false)
  clock.step()
  await reading
  expect(found).toHaveLength(6)
})

it('folders of several topics are read at once, each with its own messages only', async () => {
  const clock = virtualClock()
  const asked: string[] = []
  const wire = {
    subscribe: async (filters: readonly { topic: string }[]) => void asked.push(...filters.map(({ topic }) => topic)),
    store: async () => 0,
    unsubscribe: async () => {},
  } as unknown as Wire
  const records = createRecords({ id: 'unit', current: () => wire, timer: clock.timer, changed: () => {}, groupGone: () => {} })
  const readings = ['orders', 'bills', 'orders'].map((topic) => records.members(topic))
  await settled()
  expect(asked).toEqual(['posthorn/member/+/orders/+', 'posthorn/member/+/bills/+'])
  for (const topic of ['orders', 'bills'])
    records.take({ topic: `posthorn/member/email/${topic}/m`, payload: Buffer.from('x'), retain: true } as unknown as IPublishPacket)
  for (const fence of ['1', '2', '3']) {
    records.take({ topic: 'posthorn/echo/unit~', payload: Buffer.from(fence), retain: false } as unknown as IPublishPacket)
    // The quiet behind it, and not the silence that the others would not survive.
    while ((clock.nextDue() ?? Number.POSITIVE_INFINITY) <= clock.monotonic() + 1000) clock.step()
    await settled()
  }
  const found = await Promise.all(readings)
  expect(found.map((each) => each.map(({ topic }) => topic))).toEqual([
    ['posthorn/member/email/orders/m'],
    ['posthorn/member/email/bills/m'],
    [],
  ])
})
