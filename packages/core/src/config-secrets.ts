// Secrets of a configuration stand in the environment or in files of their own, never in the configuration file.

import { readFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { invalid } from './check.ts'
import type { Adapter } from './contract.ts'
import { textOf } from './errors.ts'
import type { Native } from './native.ts'
import { nearest } from './nearest.ts'
import { rememberSecret, rememberSecretsOf } from './redact.ts'

/** Where a text stands instead: in a variable of the environment, or in a file, whose last line break does not count. A relative path starts at the configuration file. */
export type Elsewhere = { readonly env: string } | { readonly file: string }

/** A target as a configuration may write it: any text in it may stand elsewhere. */
export type ConfigTarget = string | Adapter | Referring<{ readonly url: string } & Native<'connect'>>

type Referring<T> = T extends string
  ? T | Elsewhere
  : T extends ((...parameters: never[]) => unknown) | readonly unknown[] | Uint8Array
    ? T
    : T extends object
      ? { readonly [K in keyof T]: Referring<T[K]> }
      : T

/** Where references are looked up. */
export interface Surroundings {
  readonly env: Readonly<Record<string, unknown>>
  /** Where relative paths start. */
  readonly folder: string
}

const maxBytes = 65_536

/** Does this say where a text stands? */
export function isElsewhere(value: unknown): value is Elsewhere {
  if (typeof value !== 'object' || value === null) return false
  const [key, ...others] = Object.keys(value)
  return (key === 'env' || key === 'file') && others.length === 0 && typeof (value as Record<string, unknown>)[key] === 'string'
}

/**
 * A copy of a plain value with every reference replaced by the text it names; `where` is what an error names.
 *
 * @throws MessagingError `INVALID_ARGUMENT` naming the place, and the variable or the file
 */
export async function lookUp(value: unknown, where: string, around: Surroundings): Promise<unknown> {
  if (isElsewhere(value)) {
    const text = 'env' in value ? fromEnvironment(value.env, where, around.env) : await fromFile(value.file, where, around.folder)
    rememberSecretsOf(text)
    rememberSecret(text)
    return text
  }
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value
  const copy: Record<string, unknown> = {}
  for (const [key, each] of Object.entries(value)) copy[key] = await lookUp(each, `${where.slice(0, -1)}.${key}"`, around)
  return copy
}

function fromEnvironment(name: string, where: string, env: Surroundings['env']): string {
  const value = env[name]
  if (typeof value === 'string' && value !== '') return value
  if (value === '') throw invalid(where, `the variable ${name} is set but empty`)
  const hint = nearest(name, Object.keys(env))
  throw invalid(where, `the variable ${name} is not set.${hint === undefined ? '' : ` did you mean "${hint}"?`}`)
}

/**
 * The text of a file that holds a secret.
 *
 * @throws MessagingError `INVALID_ARGUMENT` naming the file, never what is in it
 */
export async function fromFile(path: string, where: string, folder: string): Promise<string> {
  const full = isAbsolute(path) ? path : join(folder, path)
  let bytes: Buffer
  try {
    bytes = await readFile(full)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw invalid(where, `the file ${full} cannot be read: ${code === 'ENOENT' ? 'there is none' : textOf(error, 200)}`)
  }
  if (bytes.length > maxBytes) throw invalid(where, `the file ${full} has ${bytes.length} bytes: that is no secret, or not only one`)
  const text = bytes.toString('utf8').replace(/^\ufeff/, '').replace(/\r?\n$/, '')
  if (text === '') throw invalid(where, `the file ${full} is empty`)
  return text
}

const secretName = /^(?:.*(?:password|passwd|passphrase|secret|credential)|pass|token)$/i
const secretInUrl = /^[a-z][a-z0-9+.-]*:\/\/[^/?#@:]*:([^@]+)@/i

/** The place of a secret that is written out in a target, as `brokers.main.redis.password`; undefined where there is none. */
export function writtenSecret(value: unknown, path: string): { readonly path: string; readonly secret: string } | undefined {
  if (typeof value === 'string') {
    const secret = secretInUrl.exec(value)?.[1]
    return secret === undefined ? undefined : { path, secret }
  }
  if (typeof value !== 'object' || value === null || isElsewhere(value) || Object.getPrototypeOf(value) !== Object.prototype) return undefined
  for (const [key, each] of Object.entries(value)) {
    const written = typeof each === 'string' && (secretName.test(key) || /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(each))
    const found = written ? { path: `${path}.${key}`, secret: each } : writtenSecret(each, `${path}.${key}`)
    if (found !== undefined) return found
  }
  return undefined
}
