// A small application: an order makes an e-mail, a push notice and a reservation of stock. The same code runs on every adapter,
// and what happens in it is the same, line by line, once the lines are sorted.

import { type Broker, deadLetter, topic, unchecked } from '@posthorn/core'
import { realClock } from '../clock.ts'
import type { Trial } from '../trial.ts'

interface Placed {
  readonly number: number
  readonly user: string
  readonly product: string
}
interface Sent {
  readonly number: number
  readonly channel: string
}
const products = ['horn', 'mute', 'nothing'] as const
const count = 12

/** What must come of it. */
export const goldenLog: readonly string[] = Array.from({ length: count }, (_, number) => {
  const product = products[number % products.length] as string
  const mail =
    number % 4 === 3 ? [`e-mail ${number} fails, attempt 1`, `e-mail ${number} sent, attempt 2`] : [`e-mail ${number} sent, attempt 1`]
  const stock =
    product === 'nothing' ? [`stock ${number} refused`, `dead letter ${number}: unknown product`] : [`stock ${number} reserved: ${product}`]
  return [...mail, `push ${number} sent`, ...stock, `audit ${number} e-mail`, `audit ${number} push`]
})
  .flat()
  .sort()

/** Plays it under names of its own; without a trial in real time. */
export async function playShop(t: Trial | undefined, broker: Broker, name: string): Promise<readonly string[]> {
  const log: string[] = []
  const placed = topic(`${name}.placed`, {
    schema: unchecked<Placed>(),
    key: (order) => order.user,
    groups: ['email', 'push', 'stock'],
    partitions: 4,
  })
  const sent = topic(`${name}.sent`, { schema: unchecked<Sent>(), key: (each) => String(each.number), groups: ['audit'], partitions: 4 })
  const retry = { attempts: 3, firstDelayMs: 20, factor: 1 }
  await broker.consume(placed, { group: 'email', retry }, (message) => {
    const { number } = message.value
    if (number % 4 === 3 && message.attempt === 1) {
      log.push(`e-mail ${number} fails, attempt ${message.attempt}`)
      throw new Error('the mail server is busy')
    }
    log.push(`e-mail ${number} sent, attempt ${message.attempt}`)
    message.forward(sent, { number, channel: 'e-mail' })
  })
  await broker.consume(placed, { group: 'push', retry }, (message) => {
    log.push(`push ${message.value.number} sent`)
    message.forward(sent, { number: message.value.number, channel: 'push' })
  })
  await broker.consume(placed, { group: 'stock', retry }, (message) => {
    const { number, product } = message.value
    if (product === 'nothing') {
      log.push(`stock ${number} refused`)
      return deadLetter('unknown product')
    }
    log.push(`stock ${number} reserved: ${product}`)
    return undefined
  })
  await broker.consume(sent, { group: 'audit', retry }, (message) => {
    log.push(`audit ${message.value.number} ${message.value.channel}`)
  })
  const producer = broker.producer(placed)
  for (let number = 0; number < count; number++) {
    await producer.send({ number, user: `user-${number % 5}`, product: products[number % products.length] as string })
  }

  const letters = new Map<number, string>()
  const complete = async (): Promise<boolean> => {
    for await (const letter of broker.deadLetters(placed, 'stock').list()) letters.set((letter.value as Placed).number, letter.reason)
    return log.length + letters.size >= goldenLog.length
  }
  if (t !== undefined) await t.until('the application is done', complete, { withinMs: 20_000, seen: () => log.slice().sort() })
  else await inRealTime(complete)
  return [...log, ...[...letters].map(([number, reason]) => `dead letter ${number}: ${reason}`)].sort()
}

/** Until the condition holds, or 10 s: what is missing then shows in the log. */
async function inRealTime(condition: () => Promise<boolean>): Promise<void> {
  const deadline = realClock.monotonic() + 10_000
  while (!(await condition()) && realClock.monotonic() < deadline) {
    await new Promise<void>((resolve) => {
      realClock.timer(10, resolve)
    })
  }
}
