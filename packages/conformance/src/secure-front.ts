// What stands before a server and speaks TLS, so that a clause can show any certificate: it takes the encryption off and passes
// everything on.

import { connect, createServer as createPlain, type Server, type Socket } from 'node:net'
import { createServer as createSecure, type TLSSocket } from 'node:tls'
import type { Certificate } from './certificates.ts'
import { endpointOf, throughPort } from './proxy/address.ts'

/** A listener with a certificate, before one client's way to its server. */
export interface SecureFront {
  /** The same address, through this front. Everything that comes is passed on to the address given last. */
  before(address: string): string
  /** Connections from now on are shown this one. */
  show(certificate: Certificate): void
  /** Names of the certificates that clients have shown, in turn; null: none. */
  readonly shown: readonly (string | null)[]
  close(): Promise<void>
}

/** Listens on a free port of 127.0.0.1. Close it. */
export async function openFront(first: Certificate): Promise<SecureFront> {
  const sockets = new Set<Socket>()
  const shown: (string | null)[] = []
  let target: { readonly host: string; readonly port: number } | undefined
  const server = createSecure({ ...first, requestCert: true, rejectUnauthorized: false }, (secure: TLSSocket) => {
    // Without a certificate it is an empty object, whatever the types say.
    const { subject } = secure.getPeerCertificate() as { subject?: { CN?: string } }
    shown.push(subject?.CN ?? null)
    if (target === undefined) return secure.destroy()
    join(secure, connect(target))
  })
  function join(client: Socket, upstream: Socket): void {
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  }
  // A handshake that the client ends is what most clauses are about.
  server.on('tlsClientError', () => {})
  const port = await listening(server)
  return {
    shown,
    before(address) {
      target = endpointOf(address)
      return throughPort(address, port)
    },
    show: (certificate) => server.setSecureContext({ ...certificate }),
    close: () => closed(server, sockets),
  }
}

/** A listener that accepts and says nothing, ever. */
export interface HangingHost {
  /** The same address, at this host. */
  before(address: string): string
  readonly accepted: number
  close(): Promise<void>
}

/** A server in the state in which it still accepts connections and does nothing else. */
export async function openHangingHost(): Promise<HangingHost> {
  const sockets = new Set<Socket>()
  let accepted = 0
  const server = createPlain((socket) => {
    accepted++
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.resume()
  })
  const port = await listening(server)
  return {
    before: (address) => throughPort(address, port),
    get accepted() {
      return accepted
    },
    close: () => closed(server, sockets),
  }
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a listener without a port')
  return address.port
}

async function closed(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  for (const socket of [...sockets]) socket.destroy()
  await new Promise((resolve) => server.close(resolve))
}
