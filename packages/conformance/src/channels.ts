import { subscribe, unsubscribe } from 'node:diagnostics_channel'

/** The diagnostics channels of the library, without their prefix: a public contract, so they are listed here again. */
export const channelNames: readonly string[] = [
  'sent',
  'send-failed',
  'send-unknown',
  'send-repeated',
  'start',
  'done',
  'failed',
  'waiting',
  'parked',
  'postponed',
  'dead-lettered',
  'dead-letter-failed',
  'dropped',
  'expired',
  'invalid',
  'repeat',
  'finished-again',
  'forwarded',
  'replayed',
  'abandoned',
  'timed-out',
  'settled',
  'behind-waiting',
  'settle-unknown',
  'settle-stale',
  'assigned',
  'leaving',
  'released',
  'lost',
  'consumer-started',
  'consumer-recovering',
  'consumer-failed',
  'consumer-closed',
  'stalled',
  'adapter',
  'status',
  'notice',
]

/** Listens to all channels until the returned function is called. */
export function listen(heard: (name: string, event: Readonly<Record<string, unknown>>) => void): () => void {
  const listeners = channelNames.map((name) => {
    const channel = `posthorn:${name}`
    const listener = (event: unknown): void => heard(name, event as Readonly<Record<string, unknown>>)
    subscribe(channel, listener)
    return () => {
      unsubscribe(channel, listener)
    }
  })
  return () => {
    for (const stop of listeners) stop()
  }
}
