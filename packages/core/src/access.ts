// How one gets in: what every adapter does with `password` and `tls`. What may be a secret is never shown.

import { readFileSync } from 'node:fs'
import { boolean, checkOptions, invalid, text } from './check.ts'
import type { AdapterContext } from './contract.ts'
import { rememberSecret } from './redact.ts'

/** Something to be asked for before each connection. */
type Asked<T> = T | (() => T | Promise<T>)

/**
 * What an option that is a secret gives before each connection: its text, or what its function answers then. Both are cut out of all
 * that this library shows. `attempted` and `option` are for the error: `cannot connect to Redis`, `password`.
 *
 * @throws MessagingError `INVALID_ARGUMENT` (a rejection) when the function answers with anything but a text
 */
export function secretOf<T extends string | null | undefined>(
  attempted: string,
  option: string,
  given: T | (() => string | Promise<string>),
): () => T | Promise<string> {
  if (typeof given !== 'function') {
    rememberSecret(given ?? undefined)
    return () => given
  }
  return async () => {
    const answer = await given()
    if (typeof answer !== 'string') throw invalid(attempted, `the function "${option}" gave no text`)
    rememberSecret(answer)
    return answer
  }
}

/** What an application says of TLS: each a text in PEM, or the path of a file. */
interface Files {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly serverName?: string | undefined
}

/** The same as texts, as `node:tls` takes them. */
interface Pem {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}

/**
 * TLS by texts in PEM or paths of files, which are read before each connection, so that they may be replaced. `secure` says whether
 * there is TLS at all: by the URL, whose scheme would then be `scheme`, or by the option.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for what cannot be read or contradicts the URL; of a function when it is asked
 */
export function tlsFiles(
  attempted: string,
  given: boolean | Asked<Files> | undefined,
  url: { readonly scheme: string; readonly secure: boolean },
): { readonly secure: boolean; readonly tls: () => Pem | Promise<Pem> } {
  if (given === false && url.secure) throw invalid(attempted, `${url.scheme}:// is with TLS, and "tls" says false`)
  const secure = given === undefined ? url.secure : given !== false
  if (given === undefined || typeof given === 'boolean') return { secure, tls: () => ({}) }
  if (typeof given === 'function') return { secure, tls: async () => pemOf(attempted, await given()) }
  // What cannot be read is told now, and not when the first connection is made.
  pemOf(attempted, given)
  return { secure, tls: () => pemOf(attempted, given) }
}

function pemOf(attempted: string, given: Files): Pem {
  const { serverName, ...files } = checkOptions<Files>(`${attempted}: "tls"`, given, { ca: text, cert: text, key: text, serverName: text })
  // Of fields that were not given there is nothing in what was checked.
  const texts = Object.entries(files as Readonly<Record<string, string>>).map(([name, file]) => [name, readPem(attempted, name, file)])
  return { ...(Object.fromEntries(texts) as Pem), ...(serverName === undefined ? {} : { servername: serverName }) }
}

// What it says is not shown: it may be a key that lost its first line.
function readPem(attempted: string, name: string, text: string): string {
  if (text.includes('-----BEGIN')) return text
  try {
    return readFileSync(text, 'utf8')
  } catch {
    throw invalid(attempted, `"tls.${name}" is neither a text in PEM nor the path of a file that can be read`)
  }
}

/** What `node:tls` takes, certificates and keys in any of its forms. */
interface NodeTls {
  readonly ca?: unknown
  readonly cert?: unknown
  readonly key?: unknown
  readonly passphrase?: string | undefined
  readonly servername?: string | undefined
  readonly rejectUnauthorized?: boolean | undefined
}

/**
 * TLS in the form of `node:tls`, checked; a function is asked before each connection.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for an unknown field; of a function when it is asked
 */
export function tlsOf<T extends NodeTls>(attempted: string, given: Asked<T>): () => T | Promise<T> {
  if (typeof given === 'function') return async () => checkTls(attempted, await given())
  const checked = checkTls(attempted, given)
  return () => checked
}

const anything = (): undefined => undefined

function checkTls<T extends NodeTls>(attempted: string, given: T): T {
  const tls = checkOptions<NodeTls>(`${attempted} ("tls")`, given, {
    ca: anything,
    cert: anything,
    key: anything,
    passphrase: text,
    servername: text,
    rejectUnauthorized: boolean,
  })
  rememberSecret(tls.passphrase)
  return tls as T
}

/** Is to be called with the TLS of each connection: says once in `context`, as `not-verified`, that nobody looks at the server's certificate. */
export function watchVerifying(context: Pick<AdapterContext, 'event'>): (tls: NodeTls | null) => void {
  let told = false
  return (tls) => {
    if (told || tls?.rejectUnauthorized !== false) return
    told = true
    context.event('not-verified', {
      note: `"rejectUnauthorized" is false: nobody looks at the server's certificate, and whoever answers is believed`,
    })
  }
}
