import type { Trial } from '../trial.ts'

/** BAD-9: what ends without a message starts no handler. */
export async function emptyDeliveries(t: Trial): Promise<void> {
  const topic = t.topic('empty')
  const sender = await t.connect()
  const seen = t.recorder()
  const broker = await t.connect()
  const gate = t.gate()
  await broker.consume(
    topic,
    t.consumeOptions({ concurrency: 1, maxUnsettled: 1 }),
    seen.handler(() => gate.wait()),
  )
  const first = t.orders(20)
  await t.send(sender, topic, first)
  await t.until('a handler runs', () => seen.running === 1)
  // Entries that are deleted before they are read.
  for (let partition = 0; partition < 4; partition++) await t.auditor.trim(topic.name, partition)
  gate.open()
  await t.settled(topic, 'workers', t.takeoverMs)
  const afterTrim = t.orders(20)
  await t.send(sender, topic, afterTrim)
  await t.until('it goes on after entries were deleted', () => afterTrim.every((order) => seen.of(order).length > 0), {
    withinMs: t.takeoverMs,
    seen: () => seen.finished,
  })

  // The subscription is cancelled by the server, and the iteration of the client ends with its link: neither is a message.
  const [instance] = [...(await t.auditor.owners(topic.name, 'workers')).values()]
  t.struck('an owner', instance !== undefined)
  await t.auditor.expel(instance as string)
  await t.pass(2000)
  t.link(broker).cut()
  await t.pass(t.leaseMs)
  const starts = seen.starts.length
  const last = t.orders(20)
  await t.send(sender, topic, last)
  await t.until('it recovers', () => last.every((order) => seen.of(order).length > 0), {
    withinMs: t.takeoverMs + t.recoverMs,
    seen: () => seen.finished,
  })
  await t.settled(topic, 'workers', t.takeoverMs)
  t.equal(seen.starts.length - starts, last.length, 'starts after the subscription was cancelled and the link was cut')
  const known = new Set([...first, ...afterTrim, ...last].map(({ id }) => id))
  t.equal(
    seen.starts.map(({ id }) => id).filter((id) => !known.has(id)),
    [],
    'starts for what nobody sent',
  )
  t.equal(seen.repeats, 0, 'repeats')
}
