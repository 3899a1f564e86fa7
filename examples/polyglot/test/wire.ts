// The table of docs/wire.md: what a message of ours is called on each wire.

/** A message as one end meant it, without its body. */
export interface Meant {
  readonly id: string
  readonly source: string
  readonly type: string
  readonly time: string
  readonly key: string
  readonly traceparent: string
  readonly headers: Readonly<Record<string, string>>
}
/** What a handler forwarded. */
export interface Forwarded extends Meant {
  /** The id of the message that it handled, and what that one belongs to. */
  readonly causationid: string
  readonly correlationid: string
}

const prefixed = (prefix: string, texts: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(texts).map(([name, text]) => [prefix + name, text]))

const attributes = ({ id, source, type, time, key, causationid, correlationid }: Forwarded): Record<string, string> => ({
  specversion: '1.0',
  id,
  source,
  type,
  time,
  partitionkey: key,
  causationid,
  correlationid,
})

/** All names with their values, and nothing else, as a plain client finds them. */
export const namesOn: Readonly<Record<string, (meant: Forwarded) => Readonly<Record<string, string>>>> = {
  kafka: (meant) => ({
    ...prefixed('ce_', attributes(meant)),
    ...meant.headers,
    traceparent: meant.traceparent,
    'content-type': 'application/json',
  }),
  rabbitmq: (meant) => ({ ...prefixed('cloudEvents_', attributes(meant)), ...meant.headers, traceparent: meant.traceparent }),
  redis: (meant) => ({
    ...prefixed('ce_', attributes(meant)),
    ...prefixed('h_', meant.headers),
    traceparent: meant.traceparent,
    'content-type': 'application/json',
  }),
  mqtt: (meant) => ({ ...attributes(meant), ...prefixed('h_', meant.headers), traceparent: meant.traceparent }),
}
