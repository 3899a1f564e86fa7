import { createHash } from 'node:crypto'

/** What makes a forwarded message the one it is. */
export interface ForwardOrigin {
  readonly sourceTopic: string
  readonly source: string
  readonly id: string
  readonly group: string
  readonly target: string
  readonly key: string | null
  readonly body: Uint8Array | null
  /** Among equal outputs of one handler: 0, 1, … */
  readonly ordinal: number
}

/**
 * The id of a forwarded message: the same when its handler runs again, another for another group, target, key, body or
 * ordinal. Every part goes into the hash with its length before it, so that no two origins make the same bytes.
 */
export function forwardId(origin: ForwardOrigin): string {
  const hash = createHash('sha256')
  const add = (part: string | Uint8Array | null): void => {
    if (part === null) {
      hash.update('-;')
      return
    }
    const bytes = typeof part === 'string' ? Buffer.from(part) : part
    hash.update(`${bytes.length};`)
    hash.update(bytes)
  }
  for (const part of [origin.sourceTopic, origin.source, origin.id, origin.group, origin.target, origin.key, origin.body, String(origin.ordinal)]) add(part)
  return hash.digest('base64url').slice(0, 32)
}
