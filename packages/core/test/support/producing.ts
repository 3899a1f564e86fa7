import { expect } from 'vitest'
import type { MessagingError } from '../../src/errors.ts'
import { createProducer } from '../../src/produce.ts'
import type { Producer, ProducerOptions } from '../../src/producer.ts'
import { definitionOf, type Topic, topic } from '../../src/topic.ts'
import { type Scripted, scripted } from './scripted.ts'

/** A producer of a scripted world. */
export function make(world: Scripted, of: Topic = topic('ticks'), options: ProducerOptions = {}): Producer<unknown> {
  return createProducer(world.context, definitionOf('test', of), options)
}
/** A world whose server stores everything at once. */
export function answering(options: Parameters<typeof scripted>[0] = {}): Scripted {
  const world = scripted(options)
  world.onPublish = (one) => one.answer()
  return world
}
/** The error of a promise that must reject. */
export const rejected = (promise: Promise<unknown>): Promise<MessagingError> =>
  promise.then(
    () => expect.unreachable('it resolved'),
    (error: MessagingError) => error,
  )
export const text = (body: Uint8Array | null | undefined): string => Buffer.from(body ?? []).toString()
