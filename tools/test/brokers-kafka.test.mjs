// Kafka from the launcher: what tests rely on. A server that the environment names is not ours to kill, so it is set aside.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { startBroker, startKafkaCluster } from '../brokers/index.mjs'
import { kafkaApiVersions } from '../brokers/kafka-hello.mjs'

delete process.env.POSTHORN_KAFKA_URL

test('what it was told is there after kill -9, on the same port', async (context) => {
  const broker = await startBroker('kafka')
  context.after(() => broker.stop())
  assert.equal(broker.profile, 'durable')
  await broker.control(['topics', '--create', '--topic', 'kept', '--partitions', '3'])
  const { pid, port } = broker
  await broker.signal('SIGKILL')
  await assert.rejects(kafkaApiVersions({ port, timeoutMs: 500 }))
  await broker.start()
  assert.notEqual(broker.pid, pid)
  assert.match(await broker.control(['topics', '--describe', '--topic', 'kept']), /PartitionCount: 3/)
  await broker.wipe()
  assert.doesNotMatch(await broker.control(['topics', '--list']), /kept/)
})

test('several run side by side, and what is stopped leaves nothing', async (context) => {
  const [one, two] = await Promise.all([startBroker('kafka'), startBroker('kafka')])
  context.after(() => two.stop())
  assert.notEqual(one.port, two.port)
  await one.stop()
  assert.equal(existsSync(one.folder), false)
  const { versions } = await kafkaApiVersions({ port: two.port })
  assert.ok(versions.get(0).max >= 7)
})

test('a setting that the server refuses is an error with its own words', async () => {
  await assert.rejects(startBroker('kafka', { settings: ['num.io.threads=none'] }), /num\.io\.threads/)
})

test('three nodes are one cluster, and two of them go on without the third', async (context) => {
  const cluster = await startKafkaCluster(3)
  context.after(() => cluster.stop())
  const [first, second] = cluster.nodes
  await first.control(['topics', '--create', '--topic', 'copied', '--partitions', '3'])
  assert.match(await second.control(['topics', '--describe', '--topic', 'copied']), /ReplicationFactor: 3/)
  await first.signal('SIGKILL')
  assert.match(await second.control(['topics', '--list']), /copied/)
})
