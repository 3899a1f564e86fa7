import { type Broker, topic } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { memory, memoryServer } from '@posthorn/core/testing'
import { expect, test } from 'vitest'
import { realClock } from '../src/clock.ts'

const server = memoryServer()
const open = (looksOnly: boolean): Promise<Broker> =>
  connectWith({ clock: realClock, random: Math.random, looksOnly }, memory({ server }), { log: false })

test('a connection that only looks makes neither topic nor group, and knows a topic by its name alone', async () => {
  await using maker = await open(false)
  await using looker = await open(true)
  const orders = topic('orders', { key: () => 'k', groups: ['email'] })
  const named = topic('orders')
  const firstOf = async (tool: AsyncIterable<unknown>): Promise<unknown> => {
    for await (const letter of tool) return letter
    return 'nothing'
  }
  await expect(firstOf(looker.deadLetters(named, 'email').list())).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await expect(looker.declare(orders)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await maker.declare(orders)
  await expect(looker.declare(named, { groups: ['emial'] })).rejects.toMatchObject({ code: 'NOT_FOUND' })
  expect(await firstOf(looker.deadLetters(named, 'email').list())).toBe('nothing')
  await looker.declare(named, { groups: ['email'] })
})
