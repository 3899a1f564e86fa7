import type { ConsumerHandle } from './consumer-handle.ts'
import type { BrokerContext } from './context.ts'
import type { Forwarders } from './forwarders.ts'
import { within } from './within.ts'

// Beyond `drainMs`, each for what cannot be cut short without harm: hand-overs that are on their way, sends that must
// learn their outcome, sockets. Together they are the most by which `close` may be late.
const handOverMs = 450
const flushMs = 200
const releaseMs = 200

/**
 * Drains the consumers, flushes what they and the application sent, and closes the session. Never rejects, and resolves
 * within `drainMs` + 0.9 s, even if the server is gone: what did not end by then is dropped with the session.
 */
export async function closeBroker(
  context: BrokerContext,
  consumers: readonly ConsumerHandle[],
  forwarders: Forwarders,
  drainMs: number,
): Promise<void> {
  const { catalog, clock, sender, session } = context
  const deadline = clock.monotonic() + drainMs
  await within(clock, deadline + handOverMs, Promise.allSettled(consumers.map(({ consumer }) => consumer.close({ drainMs }))))
  // After the last handler: no delayed message needs a forwarder of ours any more, another member takes the lanes over.
  await within(clock, deadline + handOverMs, forwarders.close(deadline))
  const flushed = Math.max(deadline, clock.monotonic())
  await within(clock, flushed + flushMs, sender.close(flushed + flushMs / 2))
  catalog.close()
  const drop = new AbortController()
  const end = Math.max(deadline, clock.monotonic())
  const ended = session.close(drop.signal)
  if (await within(clock, end + releaseMs, ended)) return
  drop.abort()
  await within(clock, clock.monotonic() + 50, ended)
}
