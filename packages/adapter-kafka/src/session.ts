// A live session: a cluster, what was declared, and what is subscribed.

import type { AdapterContext, Place, Session, TopicPlan } from '@posthorn/core/adapter'
import { subscribeBroadcast } from './broadcast.ts'
import { capabilities } from './capabilities.ts'
import { openCluster } from './cluster.ts'
import { createTopicMaker } from './create-topics.ts'
import { createDeadLetters } from './dead-letters.ts'
import { warnOfLosses } from './durability.ts'
import { fault } from './explain.ts'
import { kafkajsClient, kafkajsConnections } from './kafkajs.ts'
import { groupIdOf, topicAt } from './names.ts'
import { lagOf } from './offsets.ts'
import type { KafkaTopicOptions, Settings } from './options.ts'
import { createPublisher } from './publish.ts'
import { type Subscribing, type Subscription, subscribeGroup } from './subscribe.ts'
import { declareTopic } from './topology.ts'

// How long a close waits until the server knows that members are gone.
const leaveMs = 500

/** Connects. Rejects with what the server or the socket said. */
export async function openSession(settings: Settings, context: AdapterContext, signal: AbortSignal): Promise<Session> {
  const client = await kafkajsClient(settings, context)
  const cluster = await openCluster(settings, context, kafkajsConnections(settings, context), signal)
  const plans = new Map<string, TopicPlan>()
  const natives = new Map<string, KafkaTopicOptions>()
  const subscriptions = new Set<Subscription>()
  const healing = new Map<string, Promise<boolean>>()
  const warned = new Set<string>()
  let numbers = 0

  const at = (place: Place): string => topicAt(place, natives.get(place.topic))
  const publisher = createPublisher(cluster, at)
  const makeTopics = createTopicMaker(cluster)
  const deadLetters = createDeadLetters(cluster, at)

  async function declareOne(plan: TopicPlan): Promise<Awaited<ReturnType<Session['declare']>>[number]> {
    const { state, completed, native } = await declareTopic(cluster, makeTopics, plan)
    natives.set(plan.name, native)
    if (plan.create) remember(plan, state.partitions)
    for (const group of completed)
      context.event('position-lost', {
        topic: plan.name,
        group,
        note: 'the group had lost the position of a partition; there it goes on from the oldest message',
      })
    const main = at({ topic: plan.name, role: 'main', group: null })
    if (!warned.has(main)) {
      warned.add(main)
      void warnOfLosses(cluster, main, plan.name)
    }
    return state
  }

  function remember(plan: TopicPlan, partitions: number): void {
    const named = new Set(plan.groups.map((group) => group.name))
    const others = plans.get(plan.name)?.groups.filter((group) => !named.has(group.name)) ?? []
    plans.set(plan.name, { ...plan, partitions, groups: [...plan.groups, ...others] })
  }

  const subscribing = (): Subscribing => ({
    cluster,
    context,
    number: ++numbers,
    nativeOf: (topic) => natives.get(topic),
    topicAt: at,
    declareAgain(topic) {
      const running = healing.get(topic)
      if (running !== undefined) return running
      const plan = plans.get(topic)
      if (plan === undefined) return Promise.resolve(false)
      const again = { ...plan, groups: plan.groups.map(({ name }) => ({ name, start: 'earliest' as const })) }
      const work = declareTopic(cluster, makeTopics, again)
        .then(() => true)
        .finally(() => healing.delete(topic))
      healing.set(topic, work)
      return work
    },
    enter: (subscription) => void subscriptions.add(subscription),
    leave: (subscription) => void subscriptions.delete(subscription),
  })

  function unlessAborted<T>(work: () => Promise<T>, until: AbortSignal): Promise<T> {
    const aborted = (): Error => fault('CANCELLED', 'kafka: given up')
    if (until.aborted) return Promise.reject(aborted())
    if (cluster.closed) return Promise.reject(fault('CLOSED', 'kafka: the session is closed', 'failed'))
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(aborted())
      until.addEventListener('abort', abort, { once: true })
      work()
        .then(resolve, reject)
        .finally(() => until.removeEventListener('abort', abort))
    })
  }

  return {
    capabilities,
    client,
    declare: ({ topics }, until) => unlessAborted(() => Promise.all(topics.map(declareOne)), until),
    publish: (batch, until) => publisher.publish(batch, until),
    async subscribe(source, until) {
      if (cluster.closed) throw fault('CLOSED', 'kafka: the session is closed', 'failed')
      return source.kind === 'broadcast'
        ? await subscribeBroadcast(subscribing(), source, until)
        : await subscribeGroup(subscribing(), source, until)
    },
    browse: (place, after, max, until) => unlessAborted(() => deadLetters.browse(place, after, max), until),
    remove: (place, entries, until) => unlessAborted(() => deadLetters.remove(place, entries), until),
    inspect(topic, group, until) {
      const native = natives.get(topic)
      const main = at({ topic, role: 'main', group: null })
      return unlessAborted(() => lagOf(cluster, groupIdOf(topic, group, native), main), until)
    },
    async close(until) {
      if (cluster.closed) return
      const open = [...subscriptions]
      const left = Promise.all(open.map((subscription) => subscription.end()))
      if (!until.aborted && open.length > 0) {
        let hurry = (): void => {}
        const hurried = new Promise<void>((resolve) => {
          hurry = resolve
        })
        until.addEventListener('abort', hurry, { once: true })
        await Promise.race([left, cluster.pause(leaveMs), hurried])
        until.removeEventListener('abort', hurry)
      }
      cluster.close()
    },
  }
}
