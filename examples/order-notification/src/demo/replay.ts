// Posts the orders to the order service as its customers would: many at once, each customer's one after the other.
import { Agent, request } from 'node:http'
import type { Order } from '../topics.ts'

export interface Answer {
  readonly status: number
  readonly body: string
}
export interface ReplayOptions {
  readonly url: string
  /** Requests under way at once. */
  readonly concurrency: number
  /** Orders per second. @default as fast as they are taken */
  readonly rate?: number | undefined
  readonly signal?: AbortSignal | undefined
  onAnswer(order: Order, answer: Answer): void
}

export async function replay(orders: readonly Order[], { url, concurrency, rate, signal, onAnswer }: ReplayOptions): Promise<void> {
  const client = createClient(url, concurrency)
  const lastOf = new Map<string, Promise<void>>()
  const underWay = new Set<Promise<void>>()
  const started = performance.now()
  try {
    for (const [index, order] of orders.entries()) {
      const due = rate === undefined ? 0 : started + (index * 1000) / rate
      while (performance.now() < due && !signal?.aborted) await new Promise((resolve) => setTimeout(resolve, due - performance.now()))
      while (underWay.size >= concurrency) await Promise.race(underWay)
      if (signal?.aborted) break
      const before = lastOf.get(order.userId)
      const post = (async () => {
        await before
        onAnswer(order, await client.post(order))
      })()
      lastOf.set(order.userId, post)
      underWay.add(post)
      post.then(
        () => underWay.delete(post),
        () => undefined,
      )
    }
    await Promise.all(underWay)
  } finally {
    client.close()
  }
}

/** Keeps its connections open between requests. */
export function createClient(url: string, connections: number): { post(body: unknown): Promise<Answer>; close(): void } {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  return {
    post: (body) =>
      new Promise((resolve, reject) => {
        const sent = request(url, { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, (response) => {
          let text = ''
          response.setEncoding('utf8')
          response.on('data', (chunk: string) => {
            text += chunk
          })
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text.trim() }))
          response.on('error', reject)
        })
        sent.on('error', reject)
        sent.end(JSON.stringify(body))
      }),
    close: () => agent.destroy(),
  }
}
