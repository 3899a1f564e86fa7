// Names at the server: ours, or those that somebody had before us.

import { naming, type Place } from '@posthorn/core/adapter'
import type { KafkaTopicOptions } from './options.ts'

/** The topic at the server that a place is. */
export const topicAt = (place: Place, native: KafkaTopicOptions | undefined): string =>
  place.role === 'main' ? (native?.topic ?? place.topic) : naming.place(place)

/** The group id at the server. */
export const groupIdOf = (topic: string, group: string, native: KafkaTopicOptions | undefined): string =>
  native?.groupIds?.[group] ?? naming.group(topic, group)

/** Who reads the delay lanes of a topic. */
export const forwarderIdOf = (topic: string): string => naming.place({ topic, role: 'delay', group: null })

export const delayPlace = (topic: string): Place => ({ topic, role: 'delay', group: null })
export const retryPlace = (topic: string, group: string): Place => ({ topic, role: 'retry', group })
export const deadPlace = (topic: string, group: string): Place => ({ topic, role: 'dead', group })
