/** Where a broker listens. */
export interface Endpoint {
  readonly host: string
  readonly port: number
  readonly tls: boolean
}

const defaultPorts: Readonly<Record<string, number>> = {
  redis: 6379,
  rediss: 6379,
  amqp: 5672,
  amqps: 5671,
  mqtt: 1883,
  mqtts: 8883,
  kafka: 9092,
  tcp: 0,
}
const tlsSchemes = new Set(['rediss', 'amqps', 'mqtts'])

/** Scheme and authority of a URL, and everything around host and port, exactly as written: a password must survive. */
const parts = /^([a-z][a-z0-9+.-]*):\/\/((?:[^/?#]*@)?)(\[[^\]]*\]|[^:/?#,]*)(?::(\d+))?(?=[/?#]|$)/i

function taken(address: string): {
  readonly scheme: string
  readonly user: string
  readonly host: string
  readonly port: number
  readonly rest: string
} {
  const found = parts.exec(address)
  if (found === null) throw new TypeError('the proxy needs the URL of one broker: scheme://host:port')
  const [all, scheme = '', user = '', host = '', port] = found
  const name = scheme.toLowerCase()
  const number = port === undefined ? defaultPorts[name] : Number(port)
  if (!number) throw new TypeError(`the proxy needs a port in a URL of ${name}:`)
  return { scheme: name, user, host: host.replace(/^\[|\]$/g, '') || '127.0.0.1', port: number, rest: address.slice(all.length) }
}

/** Host and port of the one broker that a URL names. Throws a TypeError, which never holds the URL, when it names none or several. */
export function endpointOf(address: string): Endpoint {
  const { host, port, scheme } = taken(address)
  return { host, port, tls: tlsSchemes.has(scheme) }
}

/** The same URL with another port on this machine. */
export function throughPort(address: string, port: number): string {
  const { scheme, user, rest } = taken(address)
  return `${scheme}://${user}127.0.0.1:${port}${rest}`
}
