// Where things lie. All keys of a topic share its hash tag, so that one script may touch them:
//
//   {orders.placed}:0 … :3            streams, one per partition
//   {orders.placed}:meta              hash: partitions, group:<g> per group, trim, retentionMs
//   {orders.placed}:own:<g>           hash: partition → <token>|<untilMs>, and epoch; token = <member>/<epoch>
//   {orders.placed}:mem:<g>           sorted set: member → untilMs
//   {orders.placed}:bell:<g>          stream of one entry: somebody joined, left or let go
//   {orders.placed}:delay             sorted set: entry id → due ms; the entries in the stream {orders.placed}:delay:entries
//   {orders.placed}:retry:<g>         sorted set: entry id → due ms, plus 10^15 while handed out; entries in …:retry:<g>:entries
//   {orders.placed}:retry:<g>:given   hash: entry id → how often it was handed out
//   {orders.placed}:due               stream of one entry: something was delayed or parked
//   {orders.placed}:dead:<g>          stream of dead letters; field ph-slot; …:dead:<g>:slots: slot → entry id
//   {orders.placed}:cast              hash: broadcast member → <untilMs>|<id of partition 0>,<id of partition 1>,…

/** Everything of a topic begins with this. */
export const prefixOf = (topic: string): string => `{${topic}}:`

/** The stream of one partition. */
export const streamOf = (topic: string, partition: number): string => `{${topic}}:${partition}`

/** One key of a topic by its last part. */
export const keyOf = (topic: string, part: string): string => `{${topic}}:${part}`

/** The fixed consumer name of every group: what is pending belongs to the partition, so the next owner finds it. */
export const owner = 'owner'
