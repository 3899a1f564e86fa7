// The one boundary behind which a client library is: connections to single nodes that speak Kafka's protocol. Membership, fetching,
// committing, transactions and publishing are written against this file, so another client takes the place of kafkajs in
// kafkajs.ts alone. Field names are those of kafkajs; error codes come as fields and are judged by the caller.

/** Where a node is. */
export interface Address {
  readonly host: string
  readonly port: number
}

interface Errorful {
  readonly errorCode: number
}
/** An offset as the client gives it. */
export type OffsetText = string

interface TopicPartitions<P> {
  readonly topic: string
  readonly partitions: readonly P[]
}

/** What is asked, by the name of the API. */
export interface Requests {
  readonly Metadata: { readonly topics: readonly string[]; readonly allowAutoTopicCreation: false }
  readonly GroupCoordinator: { readonly groupId: string; readonly coordinatorType: 0 | 1 }
  readonly JoinGroup: {
    readonly groupId: string
    readonly sessionTimeout: number
    readonly rebalanceTimeout: number
    readonly memberId: string
    readonly protocolType: 'consumer'
    readonly groupProtocols: readonly { readonly name: string; readonly metadata: Buffer }[]
  }
  readonly SyncGroup: {
    readonly groupId: string
    readonly generationId: number
    readonly memberId: string
    readonly groupAssignment: readonly { readonly memberId: string; readonly memberAssignment: Buffer }[]
  }
  readonly Heartbeat: { readonly groupId: string; readonly groupGenerationId: number; readonly memberId: string }
  readonly LeaveGroup: { readonly groupId: string; readonly memberId: string }
  readonly DescribeGroups: { readonly groupIds: readonly string[] }
  readonly OffsetCommit: {
    readonly groupId: string
    readonly groupGenerationId: number
    readonly memberId: string
    readonly topics: readonly TopicPartitions<{ readonly partition: number; readonly offset: OffsetText; readonly metadata: string }>[]
  }
  readonly ListOffsets: {
    readonly isolationLevel: 0 | 1
    readonly topics: readonly TopicPartitions<{ readonly partition: number; readonly timestamp: string }>[]
  }
  readonly CreateTopics: {
    readonly topics: readonly {
      readonly topic: string
      readonly numPartitions: number
      readonly replicationFactor: number
      readonly configEntries: readonly { readonly name: string; readonly value: string }[]
    }[]
    readonly timeout: number
  }
  readonly DeleteRecords: {
    readonly topics: readonly TopicPartitions<{ readonly partition: number; readonly offset: OffsetText }>[]
    readonly timeout: number
  }
  readonly DescribeConfigs: {
    readonly resources: readonly { readonly type: number; readonly name: string; readonly configNames: readonly string[] }[]
    readonly includeSynonyms: false
  }
  readonly InitProducerId: { readonly transactionalId: string; readonly transactionTimeout: number }
  readonly AddPartitionsToTxn: Producing & { readonly topics: readonly TopicPartitions<number>[] }
  readonly AddOffsetsToTxn: Producing & { readonly groupId: string }
  readonly TxnOffsetCommit: Producing & {
    readonly groupId: string
    readonly topics: readonly TopicPartitions<{ readonly partition: number; readonly offset: OffsetText; readonly metadata: string }>[]
  }
  readonly EndTxn: Producing & { readonly transactionResult: boolean }
}

/** Who writes in a transaction. */
export interface Producing {
  readonly transactionalId: string
  readonly producerId: string
  readonly producerEpoch: number
}

/** What is answered, by the name of the API. */
export interface Replies {
  readonly Metadata: {
    readonly brokers: readonly (Address & { readonly nodeId: number })[]
    readonly controllerId: number
    readonly topicMetadata: readonly {
      readonly topicErrorCode: number
      readonly topic: string
      /** Missing where the server was asked in a version that tells none. */
      readonly topicId?: string
      readonly partitionMetadata: readonly {
        readonly partitionErrorCode: number
        readonly partitionId: number
        readonly leader: number
        readonly replicas: readonly number[]
      }[]
    }[]
  }
  readonly GroupCoordinator: Errorful & { readonly coordinator: Address & { readonly nodeId: number } }
  readonly JoinGroup: Errorful & {
    readonly generationId: number
    readonly groupProtocol: string
    readonly leaderId: string
    readonly memberId: string
    readonly members: readonly { readonly memberId: string; readonly memberMetadata: Buffer }[]
  }
  readonly SyncGroup: Errorful & { readonly memberAssignment: Buffer }
  readonly Heartbeat: Errorful
  readonly LeaveGroup: Errorful
  readonly DescribeGroups: {
    readonly groups: readonly (Errorful & { readonly groupId: string; readonly members: readonly unknown[] })[]
  }
  readonly OffsetCommit: { readonly responses: readonly TopicPartitions<Errorful & { readonly partition: number }>[] }
  readonly ListOffsets: {
    readonly responses: readonly TopicPartitions<Errorful & { readonly partition: number; readonly offset: OffsetText }>[]
  }
  readonly CreateTopics: {
    readonly topicErrors: readonly (Errorful & { readonly topic: string; readonly errorMessage: string | null })[]
  }
  readonly DeleteRecords: { readonly topics: readonly TopicPartitions<Errorful & { readonly partition: number }>[] }
  readonly DescribeConfigs: {
    readonly resources: readonly (Errorful & {
      readonly resourceName: string
      readonly configEntries: readonly { readonly configName: string; readonly configValue: string | null }[]
    })[]
  }
  readonly InitProducerId: Errorful & { readonly producerId: string; readonly producerEpoch: number }
  readonly AddPartitionsToTxn: {
    readonly errors: readonly { readonly partitionErrors: readonly Errorful[] }[]
  }
  readonly AddOffsetsToTxn: Errorful
  readonly TxnOffsetCommit: { readonly topics: readonly TopicPartitions<Errorful>[] }
  readonly EndTxn: Errorful
}

/** Requests that are built and read here: they carry messages, or the client has no version of them that says enough. */
export interface RawRequest {
  readonly api: 'Produce' | 'Fetch' | 'OffsetFetch' | 'Metadata' | 'ApiVersions'
  readonly version: number
  readonly body: Buffer
}

/** One connection to one node, logged in. Requests are answered in their order, and a slow one holds up those behind it. */
export interface Connection {
  /** Aborted when it is over; its reason is the error. */
  readonly lost: AbortSignal
  /** Does the server take this version of a request? */
  takes(api: RawRequest['api'], version: number): boolean
  /** Rejects only when the connection ends first. `patienceMs`: how long the server may be silent over this, beyond what any request may take. */
  request<A extends keyof Requests>(api: A, body: Requests[A], patienceMs?: number): Promise<Replies[A]>
  /** The body of the answer as it came. */
  raw(request: RawRequest, patienceMs?: number): Promise<Buffer>
  /** Ends it now; what is open rejects. */
  close(error?: Error): void
}

/** Opens one. An abort gives up. Rejects with the client's own error. */
export type OpenConnection = (address: Address, signal: AbortSignal) => Promise<Connection>
