// Lanes keep nothing by age, so what their group has finished is cut off now and then by whoever owns the partition.

import type { Cluster } from './cluster.ts'
import { committedOf } from './offsets.ts'

const everyMs = 300_000

/** Cuts off what is finished in the partitions that `owned` names at that time. Answers what stops it. */
export function trimLanes(cluster: Cluster, groupId: string, owned: () => ReadonlyMap<string, readonly number[]>): () => void {
  const { clock, random } = cluster.context
  let cancel: (() => void) | null = null

  async function trim(topic: string, partitions: readonly number[]): Promise<void> {
    const meta = cluster.known(topic)
    if (meta === null) return
    const committed = await committedOf(cluster, groupId, topic, meta.leaders.length)
    for (const partition of partitions) {
      const offset = committed.get(partition)?.offset ?? 0
      const leader = meta.leaders[partition]
      if (offset === 0 || leader === undefined || leader === null) continue
      const connection = await cluster.connection(leader, 'main')
      await connection.request('DeleteRecords', { topics: [{ topic, partitions: [{ partition, offset: String(offset) }] }], timeout: 5000 })
    }
  }

  function later(): void {
    cancel = clock.timer(everyMs * (0.75 + random() / 2), () => {
      // Without the right to delete, the lane grows as any log does.
      void Promise.all([...owned()].map(([topic, partitions]) => trim(topic, partitions))).then(later, later)
    })
  }
  later()
  return () => cancel?.()
}
