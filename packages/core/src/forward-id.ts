import { createHash } from 'node:crypto'

/** What makes a forwarded message the same message when its source is handled again. */
export interface ForwardParts {
  readonly sourceTopic: string
  readonly source: string
  readonly id: string
  readonly group: string
  readonly target: string
  readonly key: string | null
  readonly body: Uint8Array | null
  /** Among equal outputs of one handling: 0, 1, … */
  readonly ordinal: number
}

/**
 * The id of a forwarded message: a hash of where it comes from and what it is. The same handling repeated gives the same
 * id; another group, source, key, body or ordinal gives another one. 43 characters, safe in any header.
 */
export function forwardId(parts: ForwardParts): string {
  return digestOf([parts.sourceTopic, parts.source, parts.id, parts.group, parts.target, parts.key, parts.body, String(parts.ordinal)])
}

/** A hash of fields in which no two different lists of fields look alike: each goes with its length, and null is not empty. */
export function digestOf(fields: readonly (string | Uint8Array | null)[]): string {
  const hash = createHash('sha256')
  for (const field of fields) {
    if (field === null) {
      hash.update('-')
      continue
    }
    const bytes = typeof field === 'string' ? Buffer.from(field) : field
    hash.update(`${bytes.length}:`).update(bytes)
  }
  return hash.digest('base64url')
}
