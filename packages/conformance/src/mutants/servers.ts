/** A planted bug that needs a real adapter and its server: it is listed here and run where there is one. */
export interface NeedsServer {
  readonly id: string
  readonly what: string
  /** The clauses of the page. Where a bug is planted, its test may be named after one of them. */
  readonly killedBy: readonly string[]
  /** The servers in whose adapters it makes sense: elsewhere there is nothing that could be wrong in this way. */
  readonly on: readonly ('redis' | 'rabbitmq' | 'kafka' | 'mqtt')[]
}

/** In the order of the page. */
export const needServers: readonly NeedsServer[] = [
  { id: 'MUT-15', what: 'confirms resolve in order of sending, whatever the tag', killedBy: ['RMQ-1'], on: ['rabbitmq'] },
  { id: 'MUT-17', what: 'send queue dropped on reconnect', killedBy: ['PUB-18', 'PUB-9'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-18', what: 'lost reply leaves the promise open', killedBy: ['PUB-9', 'NET-3'], on: ['redis', 'rabbitmq', 'mqtt'] },
  { id: 'MUT-19', what: 'client repeats a send by itself with a new id', killedBy: ['PUB-17'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-26', what: 'settles everything up to the finished one', killedBy: ['ACK-5'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-30', what: 'commits a partition after its revoke', killedBy: ['RBL-5', 'KAF-2'], on: ['kafka'] },
  { id: 'MUT-39', what: 'copies are transient', killedBy: ['ERR-11'], on: ['rabbitmq'] },
  { id: 'MUT-45', what: 'one first-in-first-out queue for all waits', killedBy: ['ERR-5', 'DLY-2'], on: ['rabbitmq'] },
  { id: 'MUT-46', what: 'attempt taken from the redelivered flag', killedBy: ['ERR-13'], on: ['rabbitmq'] },
  {
    id: 'MUT-51',
    what: 'lane or delay store settled before the copy is confirmed',
    killedBy: ['DLY-4', 'RDS-5'],
    on: ['redis', 'rabbitmq'],
  },
  { id: 'MUT-54', what: 'pause leaves the group', killedBy: ['FLOW-4'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-56', what: 'lease counted from hand-over, buffered messages reclaimed', killedBy: ['FLOW-6', 'RDS-4'], on: ['redis'] },
  { id: 'MUT-64', what: 'status stays `connected` while the consumer is dead', killedBy: ['LIFE-14'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-65', what: 'subscription not made again after a reconnect', killedBy: ['NET-1', 'NET-11'], on: ['redis'] },
  { id: 'MUT-66', what: '`maxUnsettled` not applied again after a reconnect', killedBy: ['NET-11'], on: ['rabbitmq'] },
  { id: 'MUT-67', what: 'no read timeout on a blocking read', killedBy: ['NET-2'], on: ['redis'] },
  { id: 'MUT-68', what: 'cancel from the broker ignored', killedBy: ['NET-12', 'RMQ-3'], on: ['rabbitmq'] },
  { id: 'MUT-69', what: 'reconnects without pause', killedBy: ['NET-14'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-70', what: 'recovery reads the first 100 only', killedBy: ['RDS-1'], on: ['redis'] },
  { id: 'MUT-71', what: 'leaving deletes the pending list', killedBy: ['RBL-9'], on: ['redis'] },
  { id: 'MUT-72', what: 'recovered message loses headers', killedBy: ['RBL-10'], on: ['redis'] },
  { id: 'MUT-77', what: 'header values turned into numbers', killedBy: ['FID-3'], on: ['redis'] },
  { id: 'MUT-85', what: "the client's error attached raw as `cause`", killedBy: ['SEC-1'], on: ['redis'] },
  { id: 'MUT-89', what: '`aliveUntil` moved on by a timer, not by an answered proof', killedBy: ['RBL-13'], on: ['redis', 'mqtt'] },
  { id: 'MUT-94', what: 'the first member keeps every partition', killedBy: ['RBL-15'], on: ['redis', 'rabbitmq', 'mqtt'] },
  { id: 'MUT-109', what: "declaring connects under a held partition's identity", killedBy: ['GRP-18', 'MQT-12'], on: ['mqtt'] },
  { id: 'MUT-115', what: 'an existing group is placed by `startFrom`', killedBy: ['INT-10'], on: ['kafka'] },
  { id: 'MUT-126', what: 'a reply without an entry counts as stored', killedBy: ['KAF-10'], on: ['kafka'] },
  { id: 'MUT-127', what: 'position read before the fence', killedBy: ['KAF-12'], on: ['kafka'] },
  { id: 'MUT-128', what: '`x-delivery-limit: -1`', killedBy: ['RMQ-10'], on: ['rabbitmq'] },
  { id: 'MUT-129', what: 'drains by cancelling the consumer', killedBy: ['RMQ-12'], on: ['rabbitmq'] },
  { id: 'MUT-130', what: 'no alternate exchange', killedBy: ['RMQ-13'], on: ['rabbitmq'] },
  { id: 'MUT-131', what: 'reads outside the fencing script, blocking', killedBy: ['RDS-8'], on: ['redis'] },
  { id: 'MUT-132', what: 'a new identity at each reconnect', killedBy: ['RDS-9'], on: ['redis'] },
  { id: 'MUT-133', what: 'a closed partition session reconnects at once', killedBy: ['RBL-6', 'MQT-10'], on: ['mqtt'] },
  { id: 'MUT-134', what: 'presence believed without its age', killedBy: ['MQT-11'], on: ['mqtt'] },
  { id: 'MUT-135', what: "group protocol named unlike the plain client's", killedBy: ['KAF-11'], on: ['kafka'] },
  { id: 'MUT-136', what: 'queue declared although `declare: false`', killedBy: ['RMQ-11', 'INT-10'], on: ['rabbitmq'] },
  { id: 'MUT-137', what: 'listing takes dead letters out', killedBy: ['DLQ-1', 'MQT-13'], on: ['redis', 'mqtt'] },
  { id: 'MUT-139', what: 'several sends outstanding on one idempotent producer', killedBy: ['KAF-13'], on: [] },
  { id: 'MUT-140', what: 'commits at the end of a batch only', killedBy: ['KAF-14'], on: ['kafka'] },
  { id: 'MUT-141', what: 'one subscription for several topics', killedBy: ['KAF-15'], on: [] },
  { id: 'MUT-144', what: 'whoever answers with TLS is believed', killedBy: ['SEC-3'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-145', what: 'credentials are kept from the first connection', killedBy: ['SEC-4'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-146', what: 'a host that accepts and says nothing is waited for', killedBy: ['NET-15'], on: ['rabbitmq'] },
  { id: 'MUT-147', what: 'reads its own spelling of attributes only', killedBy: ['INT-6'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-148', what: 'attributes written in another spelling, which it reads itself', killedBy: ['INT-1'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-149', what: 'what stands before application headers renamed, for writer and reader', killedBy: ['INT-9'], on: ['redis'] },
  { id: 'MUT-150', what: 'a full server is taken for a defect, and sends give up', killedBy: ['NET-19'], on: ['redis', 'rabbitmq'] },
  { id: 'MUT-151', what: 'written to a server that is known to be full', killedBy: ['NET-19'], on: ['rabbitmq'] },
  { id: 'MUT-152', what: 'a topic that was made again is read on by its name', killedBy: ['KAF-4'], on: ['kafka'] },
  { id: 'MUT-153', what: 'a connection that ends during the login counts as a refused user', killedBy: ['NET-6'], on: ['kafka'] },
  { id: 'MUT-154', what: 'what a settlement is on its way for is not bounded', killedBy: ['FLOW-1'], on: ['kafka'] },
]
