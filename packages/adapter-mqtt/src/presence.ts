// What a member says of itself, as it stands in its retained message.

import type { IPublishPacket } from 'mqtt'
import type { Presence } from './ownership.ts'

/** A presence that is not refreshed for so long is nobody's. */
export const presenceLife = (keepAliveMs: number): number => keepAliveMs * 3

/** A presence as it travels. `at`, the wall clock when it was said, makes each that is said anew another text. */
export const presenceText = ({ seq, holds }: Presence, at: number): Buffer => Buffer.from(JSON.stringify({ seq, holds, at }))

/** When it was said, by the clock of whoever said it; null: it does not say. */
export function saidAt(packet: IPublishPacket): number | null {
  try {
    const { at } = JSON.parse(packet.payload.toString()) as { at?: unknown }
    return typeof at === 'number' ? at : null
  } catch {
    return null
  }
}

/** What a packet says of a member; null: that it is gone. What cannot be read is said by nobody of ours: null too. */
export function presenceOf(packet: IPublishPacket): Presence | null {
  if (packet.payload.length === 0) return null
  try {
    const { seq, holds } = JSON.parse(packet.payload.toString()) as { seq?: unknown; holds?: unknown }
    if (typeof seq !== 'number' || !Array.isArray(holds)) return null
    return { seq, holds: holds.filter((each): each is string => typeof each === 'string') }
  } catch {
    return null
  }
}

/** How much longer the server will show it, in milliseconds. */
export function leftOf(packet: IPublishPacket): number {
  const seconds = packet.properties?.messageExpiryInterval
  return seconds === undefined ? Number.POSITIVE_INFINITY : seconds * 1000
}
