// INT-10: a service that another client has run until now goes on with ours, and back.

import { topic as makeTopic } from '@posthorn/core'
import type { Trial } from '../trial.ts'
import { counted } from './schema.ts'
import { utf8 } from './stored.ts'

const bodies = (from: number, count: number): readonly Uint8Array[] =>
  Array.from({ length: count }, (_, index) => utf8(`{"n":${from + index}}`))
const numbersIn = (all: readonly Uint8Array[]): readonly number[] =>
  all.map((body) => (JSON.parse(Buffer.from(body).toString()) as { readonly n: number }).n)
const sorted = (numbers: readonly number[]): readonly number[] => [...numbers].sort((a, b) => a - b)
const upTo = (from: number, to: number): readonly number[] => Array.from({ length: to - from }, (_, index) => from + index)

/** INT-10 */
export async function existingNames(t: Trial): Promise<void> {
  const { plain } = t.auditor
  const existing =
    t.abilities.existing?.(t.name('legacy')) ?? t.notProven('this adapter has no names of a plain client under "native" (existing)')
  if (plain === undefined) t.notProven('this auditor is no service of its own (plain)')
  const { names, native } = existing
  await plain.make(names)
  await plain.send(names, bodies(0, 100))
  const first = numbersIn(await plain.workOff(names, 50))
  t.equal(new Set(first).size, 50, 'messages that the plain client handled before us')
  t.equal(await plain.remaining(names), 50, 'messages that it left')
  const before = await plain.everything()

  const topic = makeTopic(t.name('orders'), { schema: counted, groups: ['workers'], native: native as never })
  const broker = await t.connect()
  const handled: number[] = []
  const rest = upTo(0, 100).filter((n) => !first.includes(n))
  // Who begins is decided already: 'latest' would skip the rest, and 'earliest' would give all of them again.
  for (const startFrom of ['latest', 'earliest'] as const) {
    const expected = startFrom === 'latest' ? rest : upTo(100, 120)
    if (startFrom === 'earliest') await plain.send(names, bodies(100, 20))
    handled.length = 0
    const consumer = await broker.consume(topic, t.consumeOptions({ startFrom }), ({ value }) => void handled.push(value.n))
    await t.until(`what was left is handled (${startFrom})`, () => handled.length >= expected.length, {
      withinMs: t.takeoverMs,
      seen: () => sorted(handled),
    })
    await t.until('and settled', async () => (await plain.remaining(names)) === 0, { withinMs: 10_000 })
    await consumer.close()
    t.equal(sorted(handled), expected, `what a consumer gets under existing names that says "${startFrom}"`)
  }
  // Places of our own, for retries and dead letters, belong to nobody else.
  const made = (await plain.everything()).filter((name) => !name.startsWith(`${topic.name}__`))
  t.equal(made, before, 'what there is on the server after we came, besides places of our own')

  // And back: the plain client goes on where we stopped.
  await plain.send(names, bodies(200, 10))
  t.equal(await plain.remaining(names), 10, 'messages for the plain client')
  t.equal(sorted(numbersIn(await plain.workOff(names, 10))), upTo(200, 210), 'what the plain client gets after us')
  t.equal(await plain.remaining(names), 0, 'messages that are left in the end')
  await broker.close()
}
