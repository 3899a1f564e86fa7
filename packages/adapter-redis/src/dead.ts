// Dead letters lie in a stream of their own: read in pages without taking anything out, removed one by one.

import type { Delivery, Page, Place, SettleResult } from '@posthorn/core/adapter'
import { type AttributeCache, type Entry, readEntries } from './encode.ts'
import { explain, fault } from './explain.ts'
import { keyOf } from './keys.ts'
import type { Link } from './link.ts'
import { packReader } from './pack.ts'
import { scripts } from './scripts.ts'

/** What `remove` needs to know of an entry. */
interface DeadToken {
  readonly id: string
  readonly slot: string
}

const keyOfPlace = (place: Place): string => {
  if (place.role !== 'dead' || place.group === null)
    throw fault('UNSUPPORTED', `redis: only dead letters are browsed, not the ${place.role} place of "${place.topic}"`, 'failed')
  return keyOf(place.topic, `dead:${place.group}`)
}

/** One page of a group's dead letters, oldest first. */
export async function browse(link: Link, place: Place, after: string | null, max: number): Promise<Page> {
  const count = Math.min(500, Math.max(1, max))
  const reply = (await link.run(scripts.browse, [keyOfPlace(place)], [after ?? '', String(count)])) as readonly unknown[]
  const entries: Entry[] = []
  const cache: AttributeCache = { last: null }
  for (const packed of reply.slice(2)) readEntries(packReader(packed as Buffer), cache, entries)
  return { entries: entries.map(deadDelivery), next: entries.length < count ? null : (entries.at(-1)?.id ?? null) }
}

function deadDelivery({ id, slot, content }: Entry): Delivery {
  const token: DeadToken = { id, slot }
  return {
    token,
    content: content ?? { undecodable: 'the entry is gone', body: null, headers: null },
    parked: false,
    deliveries: null,
    position: () => `dead:${id}`,
  }
}

/** Removes entries that `browse` gave; an entry that was replaced meanwhile is another one and stays. */
export async function remove(link: Link, place: Place, entries: readonly Delivery[]): Promise<SettleResult> {
  if (entries.length === 0) return 'settled'
  const tokens = entries.map(({ token }) => token as DeadToken)
  try {
    const gone = await link.run(
      scripts.remove,
      [keyOfPlace(place)],
      tokens.flatMap(({ id, slot }) => [id, slot]),
    )
    return gone === tokens.length ? 'settled' : 'stale'
  } catch (error) {
    // What is refused for good is said so; a lost answer is not known.
    if (explain(error).outcome === 'failed') throw error
    return 'unknown'
  }
}
