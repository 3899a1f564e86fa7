import { connect, topic, unchecked } from '@posthorn/core'
import { startBroker } from '/tmp/four/tools/brokers/index.mjs'
import { feed } from './dist/feed.js'
import { workOf } from './dist/messages.js'

const s = await startBroker('rabbitmq')
for (let k = 0; k < 5; k++) {
  const b = await connect(s.url, {
    name: 'x',
    log: (e) => {
      if (!/assigned|leaving|released/.test(e.event)) console.log(e.level, e.event, e.message, e.error ?? '')
    },
  })
  const t = topic('b.r' + k, { schema: unchecked(), key: (v) => v.user, groups: ['bench'] })
  await b.declare(t)
  await feed(b.producer(t), 15000, workOf(100))
  let n = 0
  const c = await b.consume(t, { group: 'bench', concurrency: 16, maxUnsettled: 1000 }, () => {
    n++
  })
  let last = -1,
    still = 0
  while (n < 15000 && still < 10) {
    await new Promise((r) => setTimeout(r, 500))
    still = n === last ? still + 1 : 0
    last = n
  }
  console.log(k, n, JSON.stringify(c.stats()), JSON.stringify(await b.lag(t, 'bench')))
  if (still >= 10) {
    await new Promise((r) => setTimeout(r, 6000))
    console.log(
      n,
      await s.control(['list_channels', 'name', 'prefetch_count', 'messages_unacknowledged', 'acks_uncommitted', 'consumer_count']),
    )
    console.log(await s.control(['list_queues', 'name', 'messages_ready', 'messages_unacknowledged', 'consumers', 'state']))
    break
  }
  await b.close()
}
await s.stop()
process.exit(0)
