// The first words with a server: a client object that does nothing by itself, and what the server says that it is.

import { access, type Clock } from '@posthorn/core/adapter'
import { Redis } from 'ioredis'
import { cleaned, fault } from './explain.ts'
import type { Settings } from './options.ts'

/** What the server says of itself. */
export interface ServerInfo {
  readonly clustered: boolean
  /** Of this connection, for CLIENT UNBLOCK; null where it may not be asked. */
  readonly clientId: string | null
}

/** Ends a client at once. */
export function destroy(client: Redis): void {
  client.disconnect()
  // What is still to be written dies with the socket, also where the other end says nothing.
  const stream: { destroy(): void } | undefined = client.stream
  stream?.destroy()
}

const noTls = '. TLS was begun there; a port without TLS is reached by redis://'

/** Connects a client, without any retry of its own, and asks the server what it is. Rejects with what the server or the socket said. */
export async function connect(
  settings: Settings,
  options: { readonly clock: Clock; readonly name: string },
  signal: AbortSignal,
): Promise<{ readonly client: Redis; readonly info: ServerInfo }> {
  const [password, tls] = await access.answer(() => Promise.all([settings.password(), settings.secure ? settings.tls() : null]), {
    clock: options.clock,
    withinMs: settings.connectMs,
    signal,
    attempted: 'redis: connecting',
    asked: 'the functions "password" and "tls"',
  })
  // It may have been given up in the turn of its answer.
  signal.throwIfAborted()
  const client = new Redis({
    lazyConnect: true,
    ...(settings.sentinels === null
      ? { host: settings.host, port: settings.port }
      : {
          sentinels: settings.sentinels.nodes.map((node) => {
            const [host = '', port] = node.split(/:(?=\d+$)/)
            return { host, port: port === undefined ? 26_379 : Number(port) }
          }),
          name: settings.sentinels.master,
          sentinelUsername: settings.sentinels.username ?? '',
          sentinelPassword: settings.sentinels.password ?? '',
          sentinelRetryStrategy: () => null,
          ...(tls === null ? {} : { sentinelTLS: tls, enableTLSForSentinelMode: true }),
        }),
    ...(settings.username === null ? {} : { username: settings.username }),
    ...(password === null ? {} : { password }),
    db: settings.db,
    ...(tls === null ? {} : { tls }),
    connectionName: options.name,
    disableClientInfo: true,
    connectTimeout: settings.connectMs,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    keepAlive: 10_000,
  })
  let first: unknown
  client.on('error', (error: unknown) => {
    first ??= error
    // A database that cannot be selected is only reported: going on would use another one.
    if (client.status === 'connect') client.disconnect()
  })
  let cancel = (): void => {}
  let over = false
  const stop = new Promise<never>((_, reject) => {
    const abort = (): void => reject(fault('CANCELLED', 'redis: connecting was given up'))
    signal.addEventListener('abort', abort, { once: true })
    const late = (): void =>
      reject(
        fault(
          'UNAVAILABLE',
          `redis: ${settings.host}:${settings.port} did not answer within ${settings.connectMs} ms${tls === null ? '' : noTls}`,
          'none',
        ),
      )
    let cancelTimer = options.clock.timer(settings.connectMs, late)
    // Over a slow way the first words take several round trips: each that is answered is one step further.
    client.once('connect', () =>
      client.stream.on('data', () => {
        if (over) return
        cancelTimer()
        cancelTimer = options.clock.timer(settings.connectMs, late)
      }),
    )
    cancel = () => {
      over = true
      cancelTimer()
      signal.removeEventListener('abort', abort)
    }
  })
  try {
    await Promise.race([client.connect(), stop])
    if (first !== undefined) throw first
    const info = await Promise.race([look(client, settings), stop])
    return { client, info }
  } catch (error) {
    client.on('error', () => {})
    destroy(client)
    const clean = cleaned(first ?? error, 'redis: ')
    // What a port with TLS does to whoever speaks without.
    if (tls === null && /ECONNRESET|EPIPE|connection is closed/i.test(clean.message))
      throw fault('UNAVAILABLE', `${clean.message}. a port with TLS is reached by rediss://`, 'none')
    throw clean
  } finally {
    cancel()
    stop.catch(() => {})
  }
}

const leastMajor = 7

async function look(client: Redis, settings: Settings): Promise<ServerInfo> {
  let text = ''
  // Without the right to it waits end a little later.
  const id = client.client('ID').then(String, () => null)
  try {
    text = await client.info('server', 'cluster', 'replication', 'persistence')
  } catch (error) {
    // Some users may not ask; then PING must do, which a server that still loads its data answers with LOADING.
    if (!(error instanceof Error) || !/NOPERM/.test(error.message)) throw error
    await client.ping()
  }
  const value = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(text)?.[1]
  if (value('loading') === '1') throw fault('UNAVAILABLE', 'LOADING the server is still loading its data', 'failed')
  const version = value('redis_version')
  if (version !== undefined && Number.parseInt(version, 10) < leastMajor)
    throw fault('UNSUPPORTED', `the server is Redis ${version}; 7.0 or newer is needed`, 'failed', false)
  if (settings.sentinels !== null && value('role') !== undefined && value('role') !== 'master')
    throw fault('UNAVAILABLE', 'the sentinels named a server that is no master any more', 'failed')
  return { clustered: value('cluster_enabled') === '1', clientId: await id }
}
