// A quorum queue confirms no acknowledgement, and a channel with many of them on their way keeps the rest for itself until some of
// these were applied: what it keeps is lost with it, although it was read from the socket in time.

import type { Channel } from 'amqplib'

/**
 * Resolves when everything acknowledged on this channel before the call was applied by `queue`, so that it survives the channel.
 * A consumer is added in turn with acknowledgements: one more proves those on their way, after which the channel lets the kept ones
 * go, and another one proves these. The channel is to be closed next, for these consumers stay, and may hold a message each.
 */
export async function applied(channel: Channel, queue: string, nextTag: () => string): Promise<void> {
  await channel.prefetch(1)
  for (let turn = 0; turn < 2; turn++) await channel.consume(queue, () => {}, { consumerTag: nextTag() })
}
