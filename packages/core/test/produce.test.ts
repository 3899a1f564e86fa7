import { describe, expect, test } from 'vitest'
import { createProducer } from '../src/produce.ts'
import { definitionOf, topic } from '../src/topic.ts'
import { quiet, scripted } from './support/scripted.ts'

const ticks = topic('ticks')

describe('a producer', () => {
  test('declares its topic before the first send and resolves when the server has confirmed', async () => {
    const world = scripted()
    const producer = createProducer(world.context, definitionOf('test', ticks), {})
    const sent = producer.send({ n: 1 })
    await quiet()
    expect(world.declared).toHaveLength(1)
    expect(world.published).toHaveLength(1)
    let resolved = false
    void sent.then(() => (resolved = true))
    await quiet()
    expect(resolved).toBe(false)
    world.published[0]?.answer()
    expect(await sent).toEqual({ id: 'id-1', position: '0:0' })
  })
})
