// Transactions under one transactional id: what is written and how far a group is, both or neither. Opening ends whatever a
// predecessor of the same id had begun, and none of its later requests is taken any more.

import type { Outgoing } from '@posthorn/core/adapter'
import type { Connection, Producing } from './client.ts'
import type { Cluster } from './cluster.ts'
import { type Portion, produceBody, type Sequence, writeRecord } from './encode.ts'
import { fault, serverFault } from './explain.ts'
import { type Places, patiently, writtenPlaces } from './offsets.ts'
import { readProduced } from './produced.ts'

/** Messages by topic at the server and partition. */
export type Outputs = ReadonlyMap<string, ReadonlyMap<number, readonly Outgoing[]>>

/** Positions that are written in a transaction. */
export interface Positions {
  readonly groupId: string
  readonly topics: Places
}

export interface Transactions {
  /** Writes both or neither. One at a time. Any rejection wedges it: it is thrown away, and another one opened. */
  run(outputs: Outputs, positions: Positions): Promise<void>
}

const timeoutMs = 30_000
/** The transaction before is still being finished at the server. */
const finishing = 51

/** Ends the predecessor's transactions, whatever state they are in. @throws what the server says */
export async function openTransactions(cluster: Cluster, transactionalId: string, purpose = 'main'): Promise<Transactions> {
  const coordinator = (): Promise<Connection> => cluster.coordinator(transactionalId, 'transaction', purpose)

  /** Asks again while the transaction before is being finished: that takes milliseconds. */
  async function asked(what: string, ask: () => Promise<number>): Promise<void> {
    for (let tries = 0; ; tries++) {
      const code = await ask()
      if (code === 0) return
      if (code !== finishing || tries >= 400 || cluster.closed) throw serverFault(code, `${what} of "${transactionalId}"`)
      await cluster.pause(tries < 20 ? 3 : 25)
    }
  }

  let producing: Producing | null = null
  await patiently(cluster, transactionalId, () =>
    asked('beginning the transactions', async () => {
      const reply = await (await coordinator()).request('InitProducerId', { transactionalId, transactionTimeout: timeoutMs })
      if (reply.errorCode === 0) producing = { transactionalId, producerId: reply.producerId, producerEpoch: reply.producerEpoch }
      return reply.errorCode
    }),
  )
  const who = producing as Producing | null
  if (who === null) throw fault('INTERNAL', `kafka: "${transactionalId}" was given no producer`)
  const sequences = new Map<string, number>()

  async function write(outputs: Outputs): Promise<void> {
    const topics = [...outputs].map(([topic, partitions]) => ({ topic, partitions: [...partitions.keys()] }))
    await asked('adding to the transaction', async () => {
      const reply = await (await coordinator()).request('AddPartitionsToTxn', { ...(who as Producing), topics })
      for (const { partitionErrors } of reply.errors) for (const { errorCode } of partitionErrors) if (errorCode !== 0) return errorCode
      return 0
    })
    const byNode = new Map<number, Map<string, Portion[]>>()
    for (const [topic, partitions] of outputs) {
      const meta = cluster.known(topic) ?? (await cluster.look(topic))
      for (const [partition, messages] of partitions) {
        const leader = meta?.leaders[partition]
        if (leader === undefined || leader === null) throw serverFault(leader === null ? 5 : 3, `writing to "${topic}"`)
        const ofNode = byNode.get(leader) ?? new Map<string, Portion[]>()
        byNode.set(leader, ofNode)
        const list = ofNode.get(topic) ?? []
        ofNode.set(topic, list)
        list.push(portionOf(topic, partition, messages))
      }
    }
    await Promise.all(
      [...byNode].map(async ([node, ofNode]) => {
        const connection = await cluster.connection(node, purpose)
        const now = cluster.context.clock.now()
        const body = produceBody({ topics: ofNode, transactionalId, timeoutMs: cluster.settings.requestTimeoutMs, now })
        const results = readProduced(await connection.raw({ api: 'Produce', version: 7, body }))
        for (const [topic, portions] of ofNode) {
          for (const { partition } of portions) {
            const result = results.get(topic)?.get(partition)
            if (result === undefined || result.errorCode !== 0 || result.offset < 0)
              throw serverFault(result?.errorCode ?? 13, `writing to "${topic}" in a transaction`)
          }
        }
      }),
    )
  }

  function portionOf(topic: string, partition: number, messages: readonly Outgoing[]): Portion {
    const key = `${topic} ${partition}`
    const first = sequences.get(key) ?? 0
    sequences.set(key, first + messages.length)
    const { producerId, producerEpoch } = who as Producing
    const sequence: Sequence = { producerId: Number(producerId), producerEpoch, first }
    return {
      partition,
      count: messages.length,
      write: (writer, index) => writeRecord(writer, messages[index] as Outgoing, index),
      sequence,
    }
  }

  async function writePositions({ groupId, topics }: Positions): Promise<void> {
    await asked('adding positions to the transaction', async () => {
      return (await (await coordinator()).request('AddOffsetsToTxn', { ...(who as Producing), groupId })).errorCode
    })
    const given = writtenPlaces(topics)
    await asked('writing positions in the transaction', async () => {
      const connection = await cluster.coordinator(groupId, 'group', purpose)
      const reply = await connection.request('TxnOffsetCommit', { ...(who as Producing), groupId, topics: given })
      for (const { partitions } of reply.topics) for (const { errorCode } of partitions) if (errorCode !== 0) return errorCode
      return 0
    })
  }

  async function end(commits: boolean): Promise<void> {
    await asked(commits ? 'ending the transaction' : 'giving up the transaction', async () => {
      return (await (await coordinator()).request('EndTxn', { ...(who as Producing), transactionResult: commits })).errorCode
    })
  }

  return {
    async run(outputs, positions) {
      try {
        if (outputs.size > 0) await write(outputs)
        await writePositions(positions)
      } catch (error) {
        // So that readers behind it do not wait for its time to run out. Whoever succeeds us does it too.
        end(false).catch(() => {})
        throw error
      }
      await end(true)
    },
  }
}
