// Where a server is: URLs of one host and of several, and what they hold beside it.

import { invalid } from './check.ts'
import { redactText } from './redact.ts'

/** What a URL of one host says. Null: it does not say. */
export interface OneHost {
  /** @default '127.0.0.1' */
  readonly host: string
  readonly port: number | null
  readonly username: string | null
  readonly password: string | null
  /** Without the slash in front of it. */
  readonly path: string
  readonly secure: boolean
}

/**
 * Reads the URL of one host. Its scheme is `scheme`, and with an `s` behind it there is TLS; parameters are refused, because options go
 * beside the URL.
 *
 * @throws MessagingError `INVALID_ARGUMENT`, with the URL in it where that is of use, without its password
 */
export function parseUrl(attempted: string, text: string, form: { readonly scheme: string; readonly example: string }): OneHost {
  const { scheme, example } = form
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw invalid(attempted, `"${redactText(text)}" is no URL, as ${example} is. are all its characters percent-encoded?`)
  }
  if (url.protocol !== `${scheme}:` && url.protocol !== `${scheme}s:`)
    throw invalid(attempted, `the URL begins with ${scheme}:// or ${scheme}s://, not with ${url.protocol}//`)
  for (const [name] of url.searchParams)
    throw invalid(attempted, `the URL takes no parameter "${name}". options go beside it: connect({ url, ${scheme}: { … } })`)
  return {
    host: url.hostname === '' ? '127.0.0.1' : url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? null : Number(url.port),
    username: decoded(url.username),
    password: decoded(url.password),
    path: url.pathname.replace(/^\//, ''),
    secure: url.protocol === `${scheme}s:`,
  }
}

function decoded(text: string): string | null {
  if (text === '') return null
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** What a URL of several hosts says. Undefined: it does not say. */
export interface ManyHosts {
  readonly scheme: string
  /** As they stand there, `host` or `host:port` each. @default ['localhost'] */
  readonly hosts: readonly string[]
  readonly username: string | undefined
  readonly password: string | undefined
  readonly path: string
  readonly search: string
}

/**
 * Reads the URL of several hosts, which are no host to a standard parser. `form` has the groups `scheme`, `user`, `hosts`, `path` and
 * `search`; `wrong` makes the error of what is not right, for the URL or a part of it.
 *
 * @throws what `wrong` makes
 */
export function parseHosts(url: string, form: RegExp, example: string, wrong: (what: string) => Error): ManyHosts {
  const found = form.exec(url)?.groups
  if (found === undefined) throw wrong(`something is no part of it. it looks like ${example}`)
  const { scheme = '', user = '', hosts = '', path = '', search = '' } = found
  const decode = (text: string): string => {
    try {
      return decodeURIComponent(text)
    } catch {
      throw wrong('a percent sign is not followed by two hexadecimal digits. write %25 for it')
    }
  }
  const colon = user.indexOf(':')
  return {
    scheme: scheme.toLowerCase(),
    hosts: (hosts === '' ? 'localhost' : hosts).split(','),
    username: user === '' ? undefined : decode(colon < 0 ? user : user.slice(0, colon)),
    password: colon < 0 ? undefined : decode(user.slice(colon + 1)),
    path: decode(path),
    search,
  }
}

/** `host:port`, `[::1]:port` or a host alone. @throws what `wrong` makes */
export function parseHost(text: string, port: number, wrong: (what: string) => Error): { readonly host: string; readonly port: number } {
  const found = /^(\[[0-9a-f:.%]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/i.exec(text)
  const at = found?.[2] === undefined ? port : Number(found[2])
  if (found?.[1] === undefined || at < 1 || at > 65_535) throw wrong('a host is not written as host or host:port')
  return { host: found[1].replace(/^\[|\]$/g, ''), port: at }
}
