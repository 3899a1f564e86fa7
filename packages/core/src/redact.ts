import { inspect } from 'node:util'

const secretParameter = /([?&;](?:[a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|key|credential|auth)[a-z0-9_.-]*)=)[^&;#\s"']*/gi
const userInfo = /\b([a-z][a-z0-9+.-]*:\/\/)([^/?#\s"'@]*(?:@[^/?#\s"'@]*)*)@/gi

// Secrets that this process was given. Texts of other libraries may hold them without the form of a URL around them.
const known = new Set<string>()

/** Remembers a credential, so that it is cut out of every text this library shows. Shorter than 4 characters is not remembered: it would cut words. */
export function rememberSecret(secret: string | undefined): void {
  if (secret === undefined || secret.length < 4) return
  known.add(secret)
  const encoded = encodeURIComponent(secret)
  if (encoded !== secret) known.add(encoded)
}

/** Remembers what a connection URL holds: its password, and parameters whose name says that they are secret. Parsed by hand: the URL may be malformed. */
export function rememberSecretsOf(url: string): void {
  for (const match of url.matchAll(userInfo)) {
    const credentials = match[2] ?? ''
    const colon = credentials.indexOf(':')
    if (colon < 0) continue
    const password = credentials.slice(colon + 1)
    rememberSecret(password)
    try {
      rememberSecret(decodeURIComponent(password))
    } catch {
      // not percent-encoded: remembered as it is
    }
  }
  // A password that was not percent-encoded may hold any character: what stands before the last "@" is user info then.
  const loose = /^[a-z][a-z0-9+.-]*:\/\/[^:@]*:(.+)@/is.exec(url)?.[1]
  if (loose !== undefined) rememberSecret(loose)
  for (const match of url.matchAll(secretParameter)) rememberSecret(match[0].slice((match[1] ?? '').length))
}

/** The text without credentials: user info of URLs, secret parameters, and every secret this process was given. */
export function redactText(text: string): string {
  let clean = text
  if (clean.includes('@')) clean = clean.replace(userInfo, '$1[redacted]@')
  if (clean.includes('=')) clean = clean.replace(secretParameter, '$1[redacted]')
  for (const secret of known) if (clean.includes(secret)) clean = clean.replaceAll(secret, '[redacted]')
  return clean
}

/** A cause that is safe to attach: the error itself, or a copy of its text where any part of it holds a secret. */
export function redactCause(cause: unknown): unknown {
  let shown: string
  try {
    shown = inspect(cause, { depth: 6, showHidden: false, getters: false })
    if (cause instanceof Error) shown += `${cause.message}${cause.stack ?? ''}`
  } catch {
    return new Error('the cause cannot be shown')
  }
  const clean = redactText(shown)
  if (clean === shown) return cause
  const copy = new Error(redactText(cause instanceof Error ? cause.message : shown.slice(0, 500)))
  copy.name = cause instanceof Error ? cause.name : 'Error'
  if (cause instanceof Error && cause.stack !== undefined) copy.stack = redactText(cause.stack)
  return copy
}
