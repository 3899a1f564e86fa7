// NET-15: one of several hosts accepts connections and says nothing.

import { openHangingHost } from '../secure-front.ts'
import type { Trial } from '../trial.ts'

const connectTimeoutMs = 10_000

/** NET-15 */
export async function hangingHostIsSkipped(t: Trial): Promise<void> {
  const hanging = await openHangingHost()
  try {
    await aloneItIsRefused(t, hanging)
    const { hosts } = t.abilities
    if (hosts === undefined) return t.note('this adapter takes one address: that a hanging one is refused in time is all there is')
    const topic = t.topic('jobs')
    const seen = t.recorder()
    const before = hanging.accepted
    const began = t.now()
    const broker = await t.connect({ at: (address) => hosts([hanging.before(address), address]), connectTimeoutMs })
    t.fact('connected ms', t.now() - began)
    t.atMost(t.now() - began, connectTimeoutMs, 'milliseconds until the second host is connected')
    await broker.consume(topic, t.consumeOptions(), seen.handler())
    const [first, second] = [t.orders(10), t.orders(10)]
    await t.send(broker, topic, first)
    await t.until('they are handled', () => first.every((order) => seen.of(order).length > 0), { withinMs: t.recoverMs })
    // Whoever begins with another host never meets the hanging one: then it was not skipped, only not tried.
    t.note(`the hanging host was tried ${hanging.accepted - before} times`)
    t.link(broker).cut()
    await t.until('it notices', () => broker.status === 'recovering' || !t.link(broker).connected, t.recoverMs)
    await t.until('it is back', () => broker.status === 'connected' && t.link(broker).connected, {
      withinMs: connectTimeoutMs + t.recoverMs,
      seen: () => ({ status: broker.status, tried: hanging.accepted }),
    })
    await t.send(broker, topic, second)
    await t.until('the others are handled', () => second.every((order) => seen.of(order).length > 0), { withinMs: t.takeoverMs })
    t.struck('tries at the hanging host', hanging.accepted - before)
    await t.settled(topic, 'workers', t.takeoverMs)
    await broker.close()
  } finally {
    await hanging.close()
  }
}

async function aloneItIsRefused(t: Trial, hanging: Awaited<ReturnType<typeof openHangingHost>>): Promise<void> {
  const began = t.now()
  const error = await t.rejects(
    t.connect({ at: (address) => hanging.before(address), connectTimeoutMs: 3000 }),
    ['UNAVAILABLE', 'TIMED_OUT'],
    {
      what: 'connecting to a host that accepts and says nothing',
    },
  )
  t.atMost(t.now() - began, 3000 + t.slack(1000), 'milliseconds until a hanging host is given up')
  t.equal(error.retryable, true, 'may it be tried again')
  t.struck('tries at the hanging host', hanging.accepted)
}
