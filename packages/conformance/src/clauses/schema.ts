// Schemas written out by hand: the suite depends on no schema library.

import type { StandardSchemaV1 } from '@posthorn/core'

/** What is wrong with a value: the path and the words; undefined: nothing. */
export type Fault = { readonly path: readonly string[]; readonly message: string } | undefined

/** A schema that takes what `check` finds no fault with, and gives it as it is. */
export function schemaOf<T>(check: (value: unknown) => Fault): StandardSchemaV1<T, T> {
  return {
    '~standard': {
      version: 1,
      vendor: 'posthorn-conformance',
      validate(value) {
        const fault = check(value)
        return fault === undefined ? { value: value as T } : { issues: [fault] }
      },
    },
  }
}

export interface Counted {
  readonly n: number
}
/** `{ n: number }` and nothing else. */
export const counted: StandardSchemaV1<Counted, Counted> = schemaOf<Counted>((value) => {
  if (typeof value !== 'object' || value === null) return { path: [], message: 'an object is needed' }
  const { n } = value as { n?: unknown }
  return typeof n === 'number' ? undefined : { path: ['n'], message: 'a number is needed' }
})
