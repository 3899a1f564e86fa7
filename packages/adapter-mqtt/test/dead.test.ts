import type { Place } from '@posthorn/core/adapter'
import type { IPublishPacket } from 'mqtt'
import { expect, it } from 'vitest'
import type { Core } from '../src/core.ts'
import { browse, remove } from '../src/dead.ts'
import { matches } from '../src/layout.ts'
import { settingsOf } from '../src/options.ts'
import type { Wire } from '../src/wire.ts'
import { coreOf, linked } from './scripted.ts'

const place: Place = { topic: 'orders', role: 'dead', group: 'email' }
const at = (slot: string, stamp: number): string => `posthorn/dead/email/orders/${slot}/${String(stamp).padStart(4, '0')}`

it('looking at dead letters takes none away; removing one takes along what it replaced, and nothing that came since', async () => {
  const stored = new Set([at('a', 100), at('a', 300), at('a', 200), at('b', 150)])
  const records = {
    read: async (filters: readonly string[], each: (packet: IPublishPacket) => void) => {
      for (const topic of stored)
        if (filters.some((filter) => matches(filter, topic))) each({ topic, payload: Buffer.from('x') } as unknown as IPublishPacket)
    },
  } as unknown as Core['records']
  const wire = {
    store: async (topic: string) => {
      stored.delete(topic)
      return 0
    },
  } as unknown as Wire
  const core = coreOf(settingsOf({}), { records, main: linked(wire) })
  const { entries } = await browse(core, place, null, 10)
  expect(entries.map(({ token }) => (token as { readonly topic: string }).topic)).toEqual([at('b', 150), at('a', 300)])
  expect(stored.size).toBe(4)
  stored.add(at('a', 50))
  expect(await remove(core, place, entries.slice(1))).toBe('settled')
  expect([...stored]).toEqual([at('b', 150), at('a', 50)])
  // Replaced since it was looked at: the newer one stays, and the caller learns it.
  stored.add(at('b', 400))
  expect(await remove(core, place, entries.slice(0, 1))).toBe('stale')
  expect([...stored]).toEqual([at('a', 50), at('b', 400)])
})
