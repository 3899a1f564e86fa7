// Several Kafka nodes on this machine, each broker and controller, with as many copies of everything.
import { findKind } from './find.mjs'
import { startInstance } from './instance.mjs'
import { kafka, kafkaServer, uuid } from './kafka.mjs'
import { BrokerMissing } from './missing.mjs'
import { freePort, releasePort } from './ports.mjs'

/** Starts `count` nodes; each is a server like any other, and any of them may be killed. */
export async function startKafkaCluster(count = 3, options = {}) {
  const found = await findKind(kafka)
  if (found.source === 'external' || found.source === 'docker') throw new BrokerMissing('kafka', ['several nodes need the program itself'])
  const nodes = []
  for (let node = 1; node <= count; node += 1) nodes.push({ node, port: await freePort(), extra: [await freePort(), await freePort()] })
  const voters = nodes.map(({ node, extra: [, controller] }) => `${node}@127.0.0.1:${controller}`).join(',')
  const id = uuid()
  const end = async (started) => {
    for (const instance of started) await instance?.stop()
    for (const { port, extra } of nodes) for (const each of [port, ...extra]) releasePort(each)
  }
  const starting = await Promise.allSettled(
    nodes.map(({ node, port, extra }) =>
      startInstance(kafkaServer(found, { ...options, cluster: { id, node, voters, copies: count } }), { port, extra }),
    ),
  )
  const started = starting.map(({ value }) => value)
  const failed = starting.find(({ status }) => status === 'rejected')
  if (failed !== undefined) {
    await end(started)
    throw failed.reason
  }
  return {
    nodes: started,
    url: `kafka://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    stop: () => end(started),
  }
}
