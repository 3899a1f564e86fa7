// The world outside, second half: what takes the push calls, as a phone maker's service would.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Trouble } from './trouble.ts'

export interface PushCall {
  readonly orderId: string
  readonly userId: string
  readonly text: string
}
export interface PushReceiver {
  readonly url: string
  /** The calls that were accepted, in this order; repeats included. */
  readonly calls: readonly PushCall[]
  /** Orders whose call was refused at least once. */
  readonly refused: ReadonlySet<string>
  /** Calls that have no answer yet. */
  readonly inFlight: number
  /** Is told when a call comes in, before it is answered. */
  onCall: (() => void) | undefined
  /** From now on every call is accepted. */
  fix(): void
  close(): Promise<void>
}

/** How long a call takes, in milliseconds. With it there is always something in flight when the push service is stopped. */
const answerMs = 3

export async function startPushReceiver(trouble: Trouble): Promise<PushReceiver> {
  const calls: PushCall[] = []
  const refused = new Set<string>()
  let inFlight = 0
  let fixed = false

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'application/json' }).end(`${JSON.stringify(calls, null, 2)}\n`)
      return
    }
    inFlight++
    receiver.onCall?.()
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const call = JSON.parse(body) as PushCall
    await new Promise((resolve) => setTimeout(resolve, answerMs))
    inFlight--
    if (trouble.always.has(call.orderId) && !fixed) {
      refused.add(call.orderId)
      response.writeHead(500).end('no certificate for this app')
    } else if (trouble.once.has(call.orderId) && !refused.has(call.orderId)) {
      refused.add(call.orderId)
      response.writeHead(503).end('busy, try again later')
    } else {
      calls.push(call)
      response.writeHead(202).end()
    }
  }

  const server = createServer((request, response) => {
    take(request, response).catch(() => response.writeHead(400).end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const receiver: PushReceiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/push`,
    calls,
    refused,
    get inFlight() {
      return inFlight
    },
    onCall: undefined,
    fix: () => {
      fixed = true
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return receiver
}
