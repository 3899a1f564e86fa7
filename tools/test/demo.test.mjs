// Which broker `npm run demo` takes: one variable is enough.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { placeOf, withBroker } from '../lib/demo-broker.mjs'

test('POSTHORN_BROKER chooses the broker of the demo, a server by its name is started', () => {
  const args = withBroker(['--orders', '5'], { POSTHORN_BROKER: 'redis' })
  assert.deepEqual(args, ['--orders', '5', '--broker', 'redis'])
  assert.equal(placeOf(args), 3)
  assert.equal(placeOf(withBroker([], { POSTHORN_BROKER: 'redis://h' })), -1)
  assert.deepEqual(withBroker([], { POSTHORN_BROKER: 'memory:mine' }), ['--broker', 'memory:mine'])
})

test('a URL in POSTHORN_<NAME>_URL is the server of that name; the launcher finds those that it knows by itself', () => {
  assert.deepEqual(withBroker([], { POSTHORN_BROKER: 'eu-west', POSTHORN_EU_WEST_URL: 'kafka://k' }), ['--broker', 'kafka://k'])
  assert.deepEqual(withBroker([], { POSTHORN_BROKER: 'kafka', POSTHORN_KAFKA_URL: 'kafka://k' }), ['--broker', 'kafka'])
})

test('the command line wins, and nothing said is the embedded broker', () => {
  assert.deepEqual(withBroker(['--broker', 'mqtt'], { POSTHORN_BROKER: 'redis' }), ['--broker', 'mqtt'])
  assert.deepEqual(withBroker(['--broker=mqtt'], { POSTHORN_BROKER: 'redis' }), ['--broker=mqtt'])
  assert.deepEqual(withBroker([], {}), [])
  assert.equal(placeOf(['--orders', 'redis']), -1)
})
