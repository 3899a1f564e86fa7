import type { IClientOptions, IClientPublishOptions } from 'mqtt'
import type { Place } from '../../compare/client.ts'
import { newId, newTraceparent, shared, timeText } from '../../compare/wire.ts'
import type { Work } from '../../messages.ts'

/** Where a partition's messages are published, as Posthorn names it. */
export const topicOf = (topic: string, partition: number): string => `${topic.replaceAll('.', '/')}/@${partition}`
/** The session that holds them for a group. */
export const sessionOf = (group: string, topic: string, partition: number): string => `ph!${group}!${topic}!${partition}`
/** All sessions of a run. */
export const sessionsOf = ({ groups, topic, partitions }: Place): string[] =>
  groups.flatMap((group) => Array.from({ length: partitions }, (_, p) => sessionOf(group, topic, p)))

/** Version 5, and nothing that the client does by itself. */
export const plainOptions: IClientOptions = { protocolVersion: 5, reconnectPeriod: 0, clean: true }
/** A session that stays. */
export const sessionOptions = (clientId: string, receiveMaximum: number): IClientOptions => ({
  ...plainOptions,
  clean: false,
  clientId,
  properties: { sessionExpiryInterval: 0xffff_ffff, receiveMaximum },
})

/** Property by property what Posthorn sends with this message. */
export const optionsOf = (topic: string, work: Work, keyed: boolean): IClientPublishOptions => ({
  qos: 1,
  properties: {
    contentType: shared.datacontenttype,
    userProperties: {
      specversion: shared.specversion,
      source: shared.source,
      type: topic,
      id: newId(),
      time: timeText(),
      ...(keyed ? { partitionkey: work.user } : {}),
      traceparent: newTraceparent(),
    },
  },
})

/** The value of a message. */
export const workIn = (payload: Buffer | string): Work => JSON.parse(payload.toString()) as Work
