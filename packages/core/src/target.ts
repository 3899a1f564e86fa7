import { invalid, show, unknownKey } from './check.ts'
import type { Adapter } from './contract.ts'
import { adapterNames, adapterProblem, schemeOf } from './load-adapter.ts'
import type { Native } from './native.ts'
import { rememberSecret, rememberSecretsOf } from './redact.ts'

/** A URL, a URL with options of its adapter, or an adapter: `connect('redis://…')`, `connect({ url, redis: {…} })`, `connect(redis({…}))`. */
export type Target = string | ({ readonly url: string } & Native<'connect'>) | Adapter

/** A target as `connect` goes on with it: a URL with its adapter's options, or an adapter. */
export type Wanted = { readonly url: string; readonly options: unknown } | { readonly url: undefined; readonly adapter: Adapter }

/**
 * What a target asks for, checked as far as it can be without loading an adapter.
 *
 * @throws MessagingError `INVALID_ARGUMENT`
 */
export function checkTarget(target: unknown, attempted = 'cannot connect'): Wanted {
  if (typeof target === 'string') {
    if (target === '') throw invalid(attempted, 'the URL is empty. is BROKER_URL set to nothing?')
    schemeOf(target, attempted)
    return { url: target, options: undefined }
  }
  if (typeof target !== 'object' || target === null || Array.isArray(target)) {
    throw invalid(attempted, `the target is a URL, { url, … } or an adapter, not ${show(target)}`)
  }
  if ('open' in target || 'explain' in target) {
    const problem = adapterProblem(target)
    if (problem !== undefined) throw invalid(attempted, `the target is ${problem}`)
    return { url: undefined, adapter: target as Adapter }
  }
  const known = ['url', ...adapterNames]
  for (const key of Object.keys(target))
    if (!known.includes(key)) throw invalid(attempted, `in the target ${unknownKey(key, known).replace('option ', 'key ')}`)
  const { url, ...rest } = target as { url?: unknown } & Record<string, unknown>
  if (typeof url !== 'string' || url === '')
    throw invalid(attempted, `"url" of the target must be a text that is not empty, not ${show(url)}`)
  for (const [key, value] of Object.entries(rest)) {
    if (value !== undefined && (typeof value !== 'object' || value === null))
      throw invalid(attempted, `"${key}" of the target must be an object, not ${show(value)}`)
  }
  return { url, options: rest[schemeOf(url, attempted).adapter] }
}

const secretName = /password|passwd|passphrase|secret|token|credential|privatekey|^pass$|^key$/i

/** Remembers every credential in a target before anything can show it: in its URL, and in options whose name says what they hold. */
export function rememberSecretsIn(target: unknown, depth = 0): void {
  if (typeof target === 'string') {
    if (target.includes(':')) rememberSecretsOf(target)
    return
  }
  if (typeof target !== 'object' || target === null || depth > 6 || target instanceof Uint8Array) return
  for (const key of Object.keys(target)) {
    const field = Object.getOwnPropertyDescriptor(target, key)
    if (field === undefined || !('value' in field)) continue
    const value: unknown = field.value
    if (typeof value === 'string' && secretName.test(key)) rememberSecret(value)
    else rememberSecretsIn(value, depth + 1)
  }
}
